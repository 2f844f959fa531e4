"""The pictures of a report, drawn from what the store holds."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from lib.data.rows import StoredRows, open_rows
from lib.data.splits import limited_rows
from lib.data.stored_profile import read_profile
from lib.evaluation.intervals import Interval
from lib.evaluation.metrics import calibration_of, read_metrics
from lib.evaluation.prediction_table import read_probabilities
from lib.lineage.manifests import Manifest, load
from lib.reporting import plots
from lib.reporting.classes import read_superclasses
from lib.reporting.matrix import draw_matrix, frame_of
from lib.reporting.sections import Art
from lib.reporting.tiles import Caption, sheet
from lib.store import Store
from lib.training.history import read_history

SAMPLES = 20
EXAMPLES = 10
MISTAKES = 10
MODEL_PICTURES = ("curves", "confusion", "reliability", "mistakes", "examples")
DATA_PICTURES = ("samples", "distribution")
ACCURACIES = "accuracies"


def names_of_pictures(models: Collection[str]) -> list[str]:
    """Those of a report whose models' pictures begin with `models`."""
    own = [f"{model}-{picture}" for model in models for picture in MODEL_PICTURES]
    return [*DATA_PICTURES, *([ACCURACIES] if models else []), *own]


class Shown(NamedTuple):
    """What all models of a report share: validation, the images of it that are drawn of each, the order of classes."""

    validation: StoredRows
    names: list[str]
    examples: np.ndarray
    """Rows drawn by chance."""
    sheet: bytes
    """Of these."""
    order: list[int]


def draw(
    store: Store, prepared: Manifest, evaluations: Mapping[str, Manifest], leaderboard: Sequence[Mapping[str, Any]]
) -> Art:
    """The pictures of `names_of_pictures`, whose `models` are the names of `evaluations`, the best first."""
    rows = open_rows(store, prepared, ("train", "validation") if evaluations else ("train",))
    names = prepared.facts["class_names"]
    drawn = _of_data(store, prepared, rows["train"], names)
    if not evaluations:
        return drawn
    drawn.pictures[ACCURACIES] = plots.png(_accuracies(leaderboard))
    best = read_metrics(store, next(iter(evaluations.values())))["validation"]
    shown = _shown(rows["validation"], names, frame_of(best, read_superclasses(store, prepared)).order)
    for name, evaluation in evaluations.items():
        of_model = _of_model(store, evaluation, shown)
        drawn.pictures.update({f"{name}-{picture}": png for picture, png in of_model.pictures.items()})
        drawn.captions.update({f"{name}-{picture}": captions for picture, captions in of_model.captions.items()})
    return drawn


def _of_data(store: Store, prepared: Manifest, train: StoredRows, names: list[str]) -> Art:
    counts = read_profile(store, prepared)["rows_per_class"]
    shown = limited_rows(train.labels, np.arange(len(train.labels)), SAMPLES)
    pictures = {
        "samples": sheet(train.images.take(shown)),
        "distribution": plots.png(plots.class_distribution(counts, names)),
    }
    captions = [Caption(names[label]) for label in train.labels[shown]]
    return Art(pictures, {"samples": captions}, plots.fonts_for(names))


def _accuracies(leaderboard: Sequence[Mapping[str, Any]]) -> Figure:
    values = [row["validation_accuracy"] for row in leaderboard]
    ends = [Interval(row["validation_accuracy_low"], row["validation_accuracy_high"]) for row in leaderboard]
    return plots.accuracies([row["model"] for row in leaderboard], values, ends)


def _shown(validation: StoredRows, names: list[str], order: list[int]) -> Shown:
    count = len(validation.labels)
    rows = np.random.default_rng(0).choice(count, min(EXAMPLES, count), replace=False)
    return Shown(validation, names, rows, sheet(validation.images.take(rows)), order)


def _of_model(store: Store, evaluation: Manifest, shown: Shown) -> Art:
    history = read_history(store, load(store, evaluation.inputs["model"]))
    metrics = read_metrics(store, evaluation)["validation"]
    probabilities = read_probabilities(store, evaluation, "validation")
    mistakes = surest_mistakes(probabilities, shown.validation.labels)
    pictures = {
        "curves": plots.png(plots.learning_curves(history)),
        "confusion": draw_matrix(metrics, shown.order),
        "reliability": plots.png(plots.reliability_diagram(calibration_of(metrics))),
        "mistakes": sheet(shown.validation.images.take(mistakes)),
        "examples": shown.sheet,
    }
    captions = {
        name: [
            Caption(shown.names[shown.validation.labels[row]], shown.names[each.argmax()], float(each.max()))
            for row, each in zip(rows, probabilities[rows], strict=True)
        ]
        for name, rows in (("mistakes", mistakes), ("examples", shown.examples))
    }
    return Art(pictures, captions)


def surest_mistakes(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The rows, at most MISTAKES, that a model of these `probabilities` (N, classes) has wrong and is surest of."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    surest: np.ndarray = wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:MISTAKES]
    return surest
