"""The pictures of a report, drawn from what the store holds."""

import json
from collections.abc import Mapping

import numpy as np
import pandas as pd

from lib.data.rows import Rows, read_rows
from lib.data.splits import limited_rows
from lib.evaluation.metrics import SplitMetrics
from lib.evaluation.prediction_table import read_probabilities
from lib.lineage.manifests import Manifest, load, local_file
from lib.reporting import plots
from lib.reporting.sections import Art
from lib.reporting.tiles import Caption, sheet
from lib.store import Store

SAMPLES = 20
EXAMPLES = 20
MODEL_PICTURES = ("curves", "confusion", "per_class", "examples")
DATA_PICTURES = ("samples", "distribution")


def draw(store: Store, prepared: Manifest, evaluations: Mapping[str, Manifest]) -> Art:
    """DATA_PICTURES, and `<name>-<picture>` for each of MODEL_PICTURES of each evaluation."""
    rows = read_rows(store, prepared, ("train", "test") if evaluations else ("train",))
    names = prepared.facts["class_names"]
    drawn = _of_data(store, prepared, rows["train"], names)
    for name, evaluation in evaluations.items():
        of_model = _of_model(store, evaluation, rows["test"], names)
        drawn.pictures.update({f"{name}-{picture}": png for picture, png in of_model.pictures.items()})
        drawn.captions.update({f"{name}-{picture}": captions for picture, captions in of_model.captions.items()})
    return drawn


def _of_data(store: Store, prepared: Manifest, train: Rows, names: list[str]) -> Art:
    counts = json.loads(local_file(store, prepared, "profile").read_bytes())["rows_per_class"]
    shown = limited_rows(train.labels, np.arange(len(train.labels)), SAMPLES)
    pictures = {
        "samples": sheet(train.images[shown]),
        "distribution": plots.png(plots.class_distribution(counts, names)),
    }
    return Art(pictures, {"samples": [Caption(names[label]) for label in train.labels[shown]]})


def _of_model(store: Store, evaluation: Manifest, test: Rows, names: list[str]) -> Art:
    history = pd.read_parquet(local_file(store, load(store, evaluation.inputs["model"]), "history"))
    metrics = SplitMetrics(**json.loads(local_file(store, evaluation, "metrics").read_bytes())["test"])
    probabilities = read_probabilities(local_file(store, evaluation, "predictions"), "test")
    shown = np.random.default_rng(0).choice(len(test.labels), min(EXAMPLES, len(test.labels)), replace=False)
    figures = {
        "curves": plots.learning_curves(history),
        "confusion": plots.confusion_matrix(metrics.confusion, names),
        "per_class": plots.per_class_accuracy([each.recall for each in metrics.per_class], names),
    }
    pictures = {name: plots.png(figure) for name, figure in figures.items()}
    captions = [
        Caption(names[label], names[each.argmax()], float(each.max()))
        for label, each in zip(test.labels[shown], probabilities[shown], strict=True)
    ]
    return Art({**pictures, "examples": sheet(test.images[shown])}, {"examples": captions})
