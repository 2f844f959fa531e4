"""The step `duplicates`: near duplicates within the splits of prepared data and between them, once for each of it."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lib.data.rows import SplitRows, open_rows
from lib.errors import PermanentError
from lib.evaluation.comparing import HELD_OUT, all_with_all, duplicates_address
from lib.evaluation.near_duplicates import (
    FARTHEST,
    FARTHEST_CORRELATION,
    FARTHEST_OF_PIXELS,
    NEIGHBOURS,
    Pair,
    Tell,
    find_near_duplicates,
    least_correlation,
)
from lib.evaluation.pair_table import check_indices, encode_pairs, read_pairs, rounded
from lib.lineage.digests import digest_json
from lib.lineage.manifests import Manifest, Ref, commit, find, load, local_file, put_file
from lib.lineage.provenance import made_by
from lib.lineage.steps import SPLITS
from lib.lineage.verify import Recomputed, check_address, must_equal
from lib.runtime.interrupts import raise_if_interrupted
from lib.runtime.jobs import Emit
from lib.settings import Settings
from lib.store import Store
from lib.training.stored_features import open_features

APART = 0.002
"""By how much a distance or correlation may differ from one machine to another."""
OTHERS = 100
"""One pair of so many may be found on one machine only: it lies at a threshold."""


def run(
    store: Store, settings: Settings, emit: Emit, *, prepared: dict[str, Any], features: dict[str, Any] | None
) -> Ref:
    """The job's entry: commit the near duplicates of `prepared`, unless they are there."""

    def tell(done: int, of: int) -> None:
        raise_if_interrupted()
        emit({"event": "comparing", "rows": done, "of": of})

    by = Ref.model_validate(features) if features else None
    return look_for_duplicates(store, Ref.model_validate(prepared), by, tell)


def look_for_duplicates(store: Store, prepared: Ref, features: Ref | None, tell: Tell = lambda done, of: None) -> Ref:
    """Commit the near duplicates of `prepared` by these features, or by pixels, unless they are there."""
    address = duplicates_address(store, prepared, features)
    if done := find(store, address):
        return done[0]
    started = time.monotonic()
    rows, pairs = _find(store, prepared, features, tell)
    manifest = Manifest(
        kind="duplicates",
        inputs={"prepared": prepared, **({"features": features} if features else {})},
        facts=_facts(store, prepared, features, pairs),
        content={"pairs": _digest(pairs)},
        files={"pairs": put_file(store, address, "pairs.parquet", encode_pairs(pairs, rows))},
        made_by=made_by(time.monotonic() - started),
    )
    return commit(store, address, manifest)


def recompute(store: Store, address: str, manifest: Manifest) -> Recomputed:
    """For verify: the pairs, looked for again. Those at a threshold may be others on another machine."""
    prepared, features = manifest.inputs["prepared"], manifest.inputs.get("features")
    names = {"dataset_name": load(store, prepared).facts["dataset"]}
    check_address("duplicates", address, **names, prepared=prepared, features=features)
    rows, right = _find(store, prepared, features)
    pairs = read_pairs(store, manifest)
    _check_pairs(address, right, pairs)
    check_indices(address, local_file(store, manifest, "pairs"), pairs, rows)
    return Recomputed(
        inputs=frozenset({"prepared", "features"} if features else {"prepared"}),
        facts=_facts(store, prepared, features, pairs),
        content={"pairs": _digest(pairs)},
        files={"pairs": "pairs.parquet"},
    )


def _find(
    store: Store, prepared: Ref, features: Ref | None, tell: Tell = lambda done, of: None
) -> tuple[Mapping[str, SplitRows], list[Pair]]:
    """The rows and their pairs, as they are stored."""
    data, by = load(store, prepared), None
    rows = open_rows(store, data, SPLITS)
    if features:
        manifest = load(store, features)
        must_equal(features.uri, "inputs.prepared", prepared.uri, manifest.inputs["prepared"].uri)
        by = open_features(store, [manifest], rows)
    images = {split: rows[split].images for split in SPLITS}
    alone = 0 if all_with_all(data.facts["rows"]) else 1  # train, the first
    return rows, rounded(find_near_duplicates(images, by, alone, tell))


def _facts(store: Store, prepared: Ref, features: Ref | None, pairs: Sequence[Pair]) -> dict[str, Any]:
    """How they were looked for, how many there are, and how many held-out images have one in train."""
    data = load(store, prepared).facts
    counts = Counter(f"{pair.split}-{pair.other_split}" for pair in pairs)
    return {
        "dataset": data["dataset"],
        "limit": data["limit"],
        "rows": data["rows"],
        "compared": "all images with all" if all_with_all(data["rows"]) else "validation and test images with all",
        "features": load(store, features).facts["backbone"]["name"] if features else None,
        "thresholds": {
            "neighbours": NEIGHBOURS,
            "distance": FARTHEST if features else FARTHEST_OF_PIXELS,
            "correlation": least_correlation(data["image_shape"][-1]),
            "correlation_distance": FARTHEST_CORRELATION,
        },
        "pairs": {
            f"{split}-{other}": counts[f"{split}-{other}"]
            for place, split in enumerate(SPLITS)
            for other in SPLITS[place:]
        },
        "twins_in_train": {split: len(twins_in_train(pairs, split)) for split in HELD_OUT},
    }


def twins_in_train(pairs: Sequence[Pair], split: str) -> list[int]:
    """The rows of `split` that have a near duplicate in train, ascending."""
    return sorted({pair.other_row for pair in pairs if (pair.split, pair.other_split) == ("train", split)})


def _digest(pairs: Sequence[Pair]) -> str:
    return digest_json([list(pair) for pair in pairs])


def _check_pairs(address: str, right: Sequence[Pair], pairs: Sequence[Pair]) -> None:
    """Raise PermanentError where `pairs` are not those which were found again, but for a few at a threshold."""
    expected, received = ({pair[:4]: pair for pair in each} for each in (right, pairs))
    others = sorted(expected.keys() ^ received.keys())
    if len(received) != len(pairs) or len(others) > len(expected) // OTHERS:
        named = "twice the same pair" if not others else f"{len(others):,} others, such as {others[0]}"
        raise PermanentError(f"{address}: its pairs must be the {len(expected):,} that its data give; received {named}")
    for place in expected.keys() & received.keys():
        apart = max(abs(a - b) for a, b in zip(expected[place][4:], received[place][4:], strict=True))
        if apart > APART:
            raise PermanentError(
                f"{address}: the distance and correlation of {place} must be those that its data give, to within "
                f"{APART}; received {apart:.4f} more or less"
            )
