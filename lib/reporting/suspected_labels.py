"""What a report says of labels that are probably wrong, by its best model: how many, and some of them as pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.data.datasets import readable
from lib.data.rows import open_rows
from lib.evaluation.calibration import apply_temperature
from lib.evaluation.label_errors import suspect_labels
from lib.evaluation.metrics import calibration_of, read_metrics
from lib.evaluation.prediction_table import HELD_OUT, read_probabilities
from lib.lineage.manifests import Manifest, load
from lib.reporting.doubts import Counts, LabelsSection, ShownLabel
from lib.reporting.tiles import boxes, sheet
from lib.store import Store

SHOWN_LABELS = 12
IMPLAUSIBLE = 0.1
"""A label is implausible whose probability, calibrated, is less than so much of that of chance.

Of four models of CIFAR-100 and Fashion-MNIST with an accuracy of 0.70 to 0.96, 0.3 to 0.8 % of validation were so, and
3.7 to 4.7 % after 5 % of the labels had been swapped. (Of a model with an accuracy of 0.35: 1.0 and 2.1 %.)
"""


@dataclass(frozen=True)
class Suspect:
    """An image whose label is probably wrong."""

    split: str
    row: int
    given: int
    suggested: int
    probability: float
    """Of the label that is given."""
    suggested_probability: float


def labels_section(
    store: Store, evaluation: Manifest, name: str, splits: Sequence[str], picture: bytes
) -> LabelsSection:
    """What the model of `evaluation`, called `name`, suspects on `splits`; `picture` is `draw_suspects`."""
    counts, suspects = find_suspects(store, evaluation, splits)
    names = [readable(each) for each in load(store, evaluation.inputs["prepared"]).facts["class_names"]]
    shown = [
        ShownLabel(
            box=box,
            split=each.split,
            given=names[each.given],
            suggested=names[each.suggested],
            percent=_percent(each.probability),
            suggested_percent=_percent(each.suggested_probability),
        )
        for each, box in zip(suspects, boxes(picture, len(suspects)), strict=True)
    ]
    return LabelsSection(name, counts, shown)


def draw_suspects(store: Store, evaluation: Manifest, splits: Sequence[str]) -> bytes:
    """A sheet of the images that are shown."""
    rows = open_rows(store, load(store, evaluation.inputs["prepared"]), HELD_OUT)
    _, suspects = find_suspects(store, evaluation, splits)
    images = [rows[each.split].images.take(np.array([each.row])) for each in suspects]
    return sheet(np.concatenate([np.empty((0, *rows["test"].images.row_shape), np.uint8), *images]))


def find_suspects(store: Store, evaluation: Manifest, splits: Sequence[str]) -> tuple[list[Counts], list[Suspect]]:
    """How many of each of these held-out splits, and at most SHOWN_LABELS of them, the least probable labels first."""
    rows = open_rows(store, load(store, evaluation.inputs["prepared"]), HELD_OUT)
    metrics, counts, suspects = read_metrics(store, evaluation), list[Counts](), list[Suspect]()
    for split in splits:
        probabilities, labels = read_probabilities(store, evaluation, split), rows[split].labels
        found = suspect_labels(probabilities, labels)
        given = labels[found.rows]
        calibrated = apply_temperature(probabilities[found.rows], calibration_of(metrics[split]).temperature)
        least = IMPLAUSIBLE / probabilities.shape[1]
        implausible = int((calibrated[np.arange(len(given)), given] < least).sum())
        counts.append(Counts(split, len(labels), len(found.rows), implausible))
        suspects += [
            Suspect(split, row, own, other, float(probabilities[row, own]), float(probabilities[row, other]))
            for row, own, other in zip(
                *(each[:SHOWN_LABELS].tolist() for each in (found.rows, given, found.suggested)), strict=True
            )
        ]
    return counts, sorted(suspects, key=lambda each: each.probability)[:SHOWN_LABELS]


def _percent(probability: float) -> str:
    """`97 %`; what is less than one, or not quite all, is said to be so."""
    text = "<1" if 0 < probability < 0.005 else ">99" if 0.995 <= probability < 1 else f"{probability * 100:.0f}"
    return f"{text}\N{NO-BREAK SPACE}%"
