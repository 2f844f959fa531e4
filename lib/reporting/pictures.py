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
from lib.reporting.sections import Art
from lib.reporting.tiles import Caption, sheet
from lib.store import Store
from lib.training.history import read_history

SAMPLES = 20
EXAMPLES = 20
MODEL_PICTURES = ("curves", "confusion", "per_class", "reliability", "examples")
DATA_PICTURES = ("samples", "distribution")
ACCURACIES = "accuracies"


def names_of_pictures(models: Collection[str]) -> list[str]:
    """Those of a report whose models' pictures begin with `models`."""
    own = [f"{model}-{picture}" for model in models for picture in MODEL_PICTURES]
    return [*DATA_PICTURES, *([ACCURACIES] if models else []), *own]


class Examples(NamedTuple):
    """Validation images that are shown of each model."""

    rows: np.ndarray
    labels: np.ndarray
    sheet: bytes


def draw(
    store: Store, prepared: Manifest, evaluations: Mapping[str, Manifest], leaderboard: Sequence[Mapping[str, Any]]
) -> Art:
    """The pictures of `names_of_pictures`, whose `models` are the names of `evaluations`."""
    rows = open_rows(store, prepared, ("train", "validation") if evaluations else ("train",))
    names = prepared.facts["class_names"]
    drawn = _of_data(store, prepared, rows["train"], names)
    if not evaluations:
        return drawn
    drawn.pictures[ACCURACIES] = plots.png(_accuracies(leaderboard))
    examples = _examples(rows["validation"])
    for name, evaluation in evaluations.items():
        of_model = _of_model(store, evaluation, examples, names)
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


def _examples(validation: StoredRows) -> Examples:
    rows = np.random.default_rng(0).choice(len(validation.labels), min(EXAMPLES, len(validation.labels)), replace=False)
    return Examples(rows, validation.labels[rows], sheet(validation.images.take(rows)))


def _of_model(store: Store, evaluation: Manifest, examples: Examples, names: list[str]) -> Art:
    history = read_history(store, load(store, evaluation.inputs["model"]))
    metrics = read_metrics(store, evaluation)["validation"]
    probabilities = read_probabilities(store, evaluation, "validation")
    figures = {
        "curves": plots.learning_curves(history),
        "confusion": plots.confusion_matrix(metrics.confusion, names),
        "per_class": plots.per_class_accuracy(
            [each.recall if each.rows else None for each in metrics.per_class], names
        ),
        "reliability": plots.reliability_diagram(calibration_of(metrics)),
    }
    pictures = {name: plots.png(figure) for name, figure in figures.items()}
    captions = [
        Caption(names[label], names[each.argmax()], float(each.max()))
        for label, each in zip(examples.labels, probabilities[examples.rows], strict=True)
    ]
    return Art({**pictures, "examples": examples.sheet}, {"examples": captions})
