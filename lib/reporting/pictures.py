"""The pictures of a report, drawn from what the store holds."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from lib.data.rows import StoredRows, open_rows
from lib.data.splits import limited_rows
from lib.data.stored_profile import read_profile
from lib.evaluation.metrics import calibration_of, read_metrics
from lib.evaluation.prediction_table import read_probabilities
from lib.lineage.manifests import Manifest, load
from lib.reporting import plots
from lib.reporting.leaderboard import by_validation, names_of
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
    """Test images that are shown of each model."""

    rows: np.ndarray
    labels: np.ndarray
    sheet: bytes


def draw(store: Store, prepared: Manifest, evaluations: Mapping[str, Manifest]) -> Art:
    """The pictures of `names_of_pictures`, whose `models` are the names of `evaluations`."""
    rows = open_rows(store, prepared, ("train", "test") if evaluations else ("train",))
    names = prepared.facts["class_names"]
    drawn = _of_data(store, prepared, rows["train"], names)
    if not evaluations:
        return drawn
    drawn.pictures[ACCURACIES] = plots.png(_accuracies(store, [*evaluations.values()]))
    examples = _examples(rows["test"])
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


def _accuracies(store: Store, evaluations: list[Manifest]) -> Figure:
    ordered = sorted(evaluations, key=by_validation)
    validation = [read_metrics(store, each)["validation"] for each in ordered]
    intervals = [each.intervals["accuracy"] for each in validation]
    return plots.accuracies(names_of(ordered), [each.accuracy for each in validation], intervals)


def _examples(test: StoredRows) -> Examples:
    rows = np.random.default_rng(0).choice(len(test.labels), min(EXAMPLES, len(test.labels)), replace=False)
    return Examples(rows, test.labels[rows], sheet(test.images.take(rows)))


def _of_model(store: Store, evaluation: Manifest, examples: Examples, names: list[str]) -> Art:
    history = read_history(store, load(store, evaluation.inputs["model"]))
    metrics = read_metrics(store, evaluation)["test"]
    probabilities = read_probabilities(store, evaluation, "test")
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
