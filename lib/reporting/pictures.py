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
from lib.store import Store

SAMPLES = 20
EXAMPLES = 20
MODEL_PICTURES = ("curves", "confusion", "per_class", "examples")
DATA_PICTURES = ("samples", "distribution")


def draw(store: Store, prepared: Manifest, evaluations: Mapping[str, Manifest]) -> dict[str, bytes]:
    """Name → PNG: DATA_PICTURES, and `<name>-<picture>` for each of MODEL_PICTURES of each evaluation."""
    rows = read_rows(store, prepared, ("train", "test") if evaluations else ("train",))
    pictures = _of_data(store, prepared, rows["train"])
    for name, evaluation in evaluations.items():
        drawn = _of_model(store, evaluation, rows["test"], prepared.facts["class_names"])
        pictures |= {f"{name}-{picture}": png for picture, png in drawn.items()}
    return pictures


def _of_data(store: Store, prepared: Manifest, train: Rows) -> dict[str, bytes]:
    names = prepared.facts["class_names"]
    counts = json.loads(local_file(store, prepared, "profile").read_bytes())["rows_per_class"]
    shown = limited_rows(train.labels, np.arange(len(train.labels)), SAMPLES)
    titles = [names[label] for label in train.labels[shown]]
    return {
        "samples": plots.png(plots.sample_grid(train.images[shown], titles)),
        "distribution": plots.png(plots.class_distribution(counts, names)),
    }


def _of_model(store: Store, evaluation: Manifest, test: Rows, names: list[str]) -> dict[str, bytes]:
    history = pd.read_parquet(local_file(store, load(store, evaluation.inputs["model"]), "history"))
    metrics = SplitMetrics(**json.loads(local_file(store, evaluation, "metrics").read_bytes())["test"])
    probabilities = read_probabilities(local_file(store, evaluation, "predictions"), "test")
    shown = np.random.default_rng(0).choice(len(test.labels), min(EXAMPLES, len(test.labels)), replace=False)
    predicted = probabilities[shown].argmax(axis=1)
    figures = {
        "curves": plots.learning_curves(history),
        "confusion": plots.confusion_matrix(metrics.confusion, names),
        "per_class": plots.per_class_accuracy([each.recall for each in metrics.per_class], names),
        "examples": plots.prediction_grid(
            test.images[shown],
            [names[label] for label in test.labels[shown]],
            [names[label] for label in predicted],
            probabilities[shown].max(axis=1).tolist(),
        ),
    }
    return {name: plots.png(figure) for name, figure in figures.items()}
