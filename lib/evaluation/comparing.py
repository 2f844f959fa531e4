"""Whether near duplicates are looked for, by what, and where they then lie: told without reading any rows.

They are looked for by features of a frozen backbone, where such lie in the store, else by pixels. Features of MobileNet
come first, by which the thresholds were chosen, then those of the backbone whose name comes first; of several of one
backbone those whose address comes first. Features of random weights do not count.
"""

from collections.abc import Mapping

from lib.lineage.index import read_index
from lib.lineage.manifests import Ref, load
from lib.lineage.steps import SPLITS, STEPS
from lib.store import Store

HELD_OUT = SPLITS[1:]
ALL_WITH_ALL_ROWS = 200_000
"""Of more rows, those that are held out are compared with all, and training rows not with one another."""
MOST_COMPARISONS = ALL_WITH_ALL_ROWS**2 // 2
"""About 25 processor minutes with the features of MobileNet. More are made only where a person asks for it."""
PREFERRED = "mobilenet"


def duplicates_address(store: Store, prepared: Ref, features: Ref | None) -> str:
    """Where the near duplicates of `prepared` by these features, or by pixels, lie."""
    dataset = load(store, prepared).facts["dataset"]
    return STEPS["duplicates"].address(dataset_name=dataset, prepared=prepared, features=features)


def choose_features(store: Store, prepared: Ref) -> Ref | None:
    """Those by which near duplicates of `prepared` are looked for today; None: none are there, so by pixels."""
    folder = f"{STEPS['features'].root}/{load(store, prepared).facts['dataset']}"
    found = {
        address: each
        for address, each in read_index(store, store.list(folder)).outputs.items()
        if each.kind == "features" and each.inputs["prepared"] == prepared and "weights" in each.inputs
    }

    def preference(address: str) -> tuple[bool, str, str]:
        name = str(found[address].facts["backbone"].get("name"))
        return name != PREFERRED, name, address

    return found[first].ref(first) if (first := min(found, key=preference, default=None)) else None


def too_many(rows: Mapping[str, int]) -> str:
    """Why near duplicates are not looked for by default among so many rows of each split; empty where they are."""
    if (count := comparisons(rows)) <= MOST_COMPARISONS:
        return ""
    return (
        f"not looked for: {sum(rows.values()):,} images take {count:,} comparisons, more than {MOST_COMPARISONS:,}; "
        "ask for it with --duplicates"
    )


def comparisons(rows: Mapping[str, int]) -> int:
    """How many pairs of so many rows of each split are compared."""
    total = sum(rows.values())
    return total**2 // 2 if all_with_all(rows) else sum(rows[split] for split in HELD_OUT) * total


def all_with_all(rows: Mapping[str, int]) -> bool:
    """Whether training rows are compared with one another."""
    return sum(rows.values()) <= ALL_WITH_ALL_ROWS
