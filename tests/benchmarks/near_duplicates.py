"""Judge the near duplicates found in CIFAR-100 by people's list: `python -m tests.benchmarks.near_duplicates LIST`.

LIST is `duplicates_cifar100.csv` of ciFAIR (Barz & Denzler 2020, arXiv:1902.00423): test image, its twin in train,
distance, and judgement. The dataset must be in the store (STORE_URI). Thresholds were chosen on the test images with
even numbers, so the figures of those with odd numbers are the honest ones. About 2 processor minutes.
"""

import argparse
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from lib.data.rows import StoredRows, open_rows
from lib.evaluation.near_duplicates import Pair, find_near_duplicates
from lib.evaluation.prediction_table import read_probabilities
from lib.lineage.manifests import Manifest, find
from lib.lineage.steps import SPLITS, STEPS
from lib.store import Store
from lib.training.stored_features import open_features
from tests.benchmarks.measuring import highest_anonymous_bytes, processor_seconds

JUDGEMENTS = ("exact", "near", "very similar")
HALVES = {"even (chosen on them)": 0, "odd (honest)": 1}
PAIRS_IN_A_LINE, ENLARGED = 8, 3


def make_parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.near_duplicates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("list", type=Path, metavar="LIST", help="people's list, a CSV file")
    options.add_argument(
        "models", nargs="*", metavar="MODEL", help="addresses of models whose evaluation is stored (default: none)"
    )
    options.add_argument(
        "--features", metavar="ADDRESS", help="features of a frozen backbone (default: means of pixels)"
    )
    options.add_argument(
        "--pictures",
        type=Path,
        metavar="PNG",
        help="draw pairs of odd numbers that are not listed, to be judged by eye",
    )
    return options


def found_at(store: Store, address: str) -> Manifest:
    """The output there."""
    found = find(store, address.strip("/"))
    if found is None:
        raise SystemExit(f"nothing finished lies at {address} in {store.uri}")
    return found[1]


def listed(path: Path) -> dict[int, int]:
    """Test image → judgement."""
    with path.open(newline="") as file:
        return {int(row["TestID"]): int(row["Judgment"]) for row in csv.DictReader(file)}


def judged(found: set[int], people: dict[int, int]) -> Table:
    """Of each half: share of listed images that are found, by judgement, and share of found ones that are listed."""
    table = Table("test images", *JUDGEMENTS, "all listed", "found", "of these listed")
    for name, half in HALVES.items():
        chosen, right = {image for image in found if image % 2 == half}, list[str]()
        for kinds in ([0], [1], [2], [0, 1, 2]):
            of_kind = {image for image, kind in people.items() if image % 2 == half and kind in kinds}
            right.append(f"{len(chosen & of_kind)}/{len(of_kind)} = {len(chosen & of_kind) / len(of_kind):.3f}")
        table.add_row(name, *right, f"{len(chosen):,}", f"{len(chosen & {*people}) / max(1, len(chosen)):.3f}")
    return table


def accuracies(
    store: Store, models: Sequence[str], labels: np.ndarray, left_out: dict[str, set[int]]
) -> Iterator[tuple[str, ...]]:
    """Of each model: its address, and test accuracy without the images of each of `left_out`, and on them alone."""
    for address in models:
        model = found_at(store, address)
        names = {"dataset_name": model.facts["dataset"], "recipe_name": model.facts["recipe"]["name"]}
        evaluation = found_at(store, STEPS["evaluation"].address(**names, model=model.ref(address.strip("/"))))
        right = read_probabilities(store, evaluation, "test").argmax(axis=1) == labels
        yield (
            address,
            f"{right.mean():.4f}",
            *(
                f"{np.delete(right, [*images]).mean():.4f} (on them {right[[*images]].mean():.4f})"
                for images in left_out.values()
            ),
        )


def draw(path: Path, pairs: Sequence[Pair], rows: dict[str, StoredRows]) -> None:
    """Each pair side by side, the first in the upper left corner."""
    height, width, _ = rows["test"].images.row_shape
    lines = -(-len(pairs) // PAIRS_IN_A_LINE)
    sheet = np.full((lines * (height + 2), PAIRS_IN_A_LINE * (2 * width + 4), 3), 255, np.uint8)
    for place, pair in enumerate(pairs):
        sides = [(pair.split, pair.row), (pair.other_split, pair.other_row)]
        both = np.concatenate([rows[split].images.take(np.array([row]))[0] for split, row in sides], axis=1)
        y, x = place // PAIRS_IN_A_LINE * (height + 2), place % PAIRS_IN_A_LINE * (2 * width + 4)
        sheet[y : y + height, x : x + 2 * width] = both
    image = Image.fromarray(sheet)
    image.resize((image.width * ENLARGED, image.height * ENLARGED), Image.Resampling.BICUBIC).save(path)


def main() -> None:
    options = make_parser().parse_args()
    from tests.benchmarks.reading import prepared  # it loads TensorFlow, which --help needs not

    people, (store, data), console = listed(options.list), prepared("cifar100"), Console(width=180)
    rows = open_rows(store, data, SPLITS)
    features = open_features(store, [found_at(store, options.features)], rows) if options.features else None
    before = processor_seconds()
    with highest_anonymous_bytes() as memory:
        pairs = find_near_duplicates({split: part.images for split, part in rows.items()}, features)
    print(f"{processor_seconds() - before:,.0f} processor seconds, {memory() / 1e6:,.0f} MB of anonymous memory")
    leaks = [pair for pair in pairs if pair.other_split == "test" and pair.split != "test"]
    within = sum(pair.other_split != "test" for pair in pairs)
    print(f"{len(pairs):,} pairs: {len(leaks):,} of test and train or validation, {within:,} within these")
    found = {int(rows["test"].index[pair.other_row]) for pair in leaks}
    console.print(judged(found, people))
    if options.models:
        table = Table("model", "all test images", f"without the {len(found):,} found", f"without the {len(people):,}")
        left_out = {"found": found, "listed": {*people}}
        for line in accuracies(store, options.models, rows["test"].labels, left_out):
            table.add_row(*line)
        console.print(table)
    if options.pictures:
        first = {pair.other_row: pair for pair in reversed(leaks)}  # the closest of each
        unlisted = [pair for row, pair in first.items() if row % 2 and row not in people]
        draw(options.pictures, sorted(unlisted, key=lambda pair: pair.distance), rows)
        print(f"{len(unlisted)} test images of odd numbers that are not listed: {options.pictures}")


if __name__ == "__main__":
    main()
