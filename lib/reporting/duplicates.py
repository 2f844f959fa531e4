"""What a report says of near duplicates: how many, what they do to accuracies, and some of them as pictures."""

from collections.abc import Mapping, Sequence

import numpy as np

from lib.data.datasets import readable
from lib.data.rows import StoredRows, open_rows
from lib.evaluation.comparing import HELD_OUT
from lib.evaluation.duplicates import twins_in_train
from lib.evaluation.near_duplicates import Pair
from lib.evaluation.pair_table import read_pairs
from lib.evaluation.prediction_table import read_right
from lib.lineage.manifests import Manifest, Ref, load
from lib.lineage.steps import SPLITS
from lib.reporting.doubts import DuplicatesSection, ShownPair, WithAndWithout
from lib.reporting.tiles import boxes, sheet
from lib.store import Store

SHOWN_PAIRS = 12
GAP_PX = 2
"""White, between the two images of a pair."""


def duplicates_section(
    store: Store, duplicates: Ref, evaluations: Mapping[str, Manifest], splits: Sequence[str], picture: bytes
) -> DuplicatesSection:
    """What `duplicates` come to for these models by name, the best first, on `splits`; `picture` is `draw_pairs`."""
    manifest = load(store, duplicates)
    prepared = load(store, manifest.inputs["prepared"])
    pairs, rows = read_pairs(store, manifest), open_rows(store, prepared, SPLITS)
    twins = {split: np.array(twins_in_train(pairs, split), int) for split in HELD_OUT}
    shown = shown_pairs(pairs)
    names = [readable(name) for name in prepared.facts["class_names"]]

    def said(split: str, row: int) -> tuple[str, str]:
        return split, names[rows[split].labels[row]]

    return DuplicatesSection(
        how=_how(manifest),
        counts=[(_where(place), count) for place, count in manifest.facts["pairs"].items()],
        rows={split: len(rows[split].labels) for split in HELD_OUT},
        twins={split: len(found) for split, found in twins.items()},
        accuracies=[
            (name, {split: _with_and_without(read_right(store, each, split), twins[split]) for split in splits})
            for name, each in evaluations.items()
        ],
        pairs=[
            ShownPair(box, said(pair.split, pair.row), said(pair.other_split, pair.other_row), pair.similarity)
            for pair, box in zip(shown, boxes(picture, len(shown)), strict=True)
        ],
        file=manifest.files["pairs"].path,
    )


def draw_pairs(store: Store, duplicates: Manifest) -> bytes:
    """A sheet of the pairs that are shown, each side by side."""
    rows = open_rows(store, load(store, duplicates.inputs["prepared"]), SPLITS)
    shown = shown_pairs(read_pairs(store, duplicates))
    left = _images(rows, [(pair.split, pair.row) for pair in shown])
    right = _images(rows, [(pair.other_split, pair.other_row) for pair in shown])
    gap = np.full((*left.shape[:2], GAP_PX, left.shape[3]), 255, np.uint8)
    return sheet(np.concatenate([left, gap, right], axis=2))


def _images(rows: Mapping[str, StoredRows], places: Sequence[tuple[str, int]]) -> np.ndarray:
    """(n, H, W, C) uint8."""
    found = [rows[split].images.take(np.array([row])) for split, row in places]
    return np.concatenate([np.empty((0, *rows["train"].images.row_shape), np.uint8), *found])


def shown_pairs(pairs: Sequence[Pair]) -> list[Pair]:
    """At most SHOWN_PAIRS: those of train and a held-out split first, from the closest to the most doubtful."""
    between = [pair for pair in pairs if pair.split == "train" and pair.other_split in HELD_OUT]
    others = [pair for pair in pairs if pair not in set(between)]
    spread = np.linspace(0, len(between) - 1, min(len(between), SHOWN_PAIRS)).round().astype(int)
    return [between[place] for place in spread] + others[: SHOWN_PAIRS - len(spread)]


def _with_and_without(right: np.ndarray, twins: np.ndarray) -> WithAndWithout:
    others = np.delete(right, twins)
    return WithAndWithout(
        whole=float(right.mean()),
        without=float(others.mean()) if len(others) else None,
        on_twins=float(right[twins].mean()) if len(twins) else None,
    )


def _how(duplicates: Manifest) -> str:
    by = duplicates.facts["features"]
    features = f"by features of {by} and pixels" if by else "by pixels, which find fewer than a backbone's features do"
    return f"{duplicates.facts['compared']}, {features}"


def _where(place: str) -> str:
    """`between train and test` of train-test."""
    first, second = place.split("-")
    return f"within {first}" if first == second else f"between {first} and {second}"
