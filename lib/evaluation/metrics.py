"""Numbers from probabilities. scikit-learn computes what it has."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter

from lib.errors import PermanentError
from lib.evaluation.intervals import Interval
from lib.lineage.manifests import Manifest, load, read_file
from lib.lineage.steps import SPLITS
from lib.store import Store

WITH_INTERVALS = ("accuracy", "top5_accuracy", "macro_f1", "loss")


class ClassMetrics(BaseModel):
    """One class on one split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    precision: float
    recall: float
    f1: float
    rows: int


class Point(BaseModel):
    """Of a reliability diagram: images of about the same confidence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    confidence: float
    """Mean probability of the predicted class."""
    accuracy: float
    rows: int
    interval: Interval
    """Of the accuracy."""


class Reliability(BaseModel):
    """How far probabilities are from what they promise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error: float
    """Expected calibration error, in bins of equal mass."""
    by_chance: float
    """What a perfectly calibrated model of this confidence exceeds in 1 of 40 cases."""
    points: list[Point]


class Calibration(BaseModel):
    """Of the probabilities as they are, and of those at the model's temperature, which was fitted on validation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float
    raw: Reliability
    scaled: Reliability


class SplitMetrics(BaseModel):
    """One model on one split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    loss: float
    """Mean cross-entropy in nats; a uniform guess has ln(classes)."""
    accuracy: float
    top5_accuracy: float
    macro_f1: float
    """Mean over the classes that have rows."""
    per_class: list[ClassMetrics]
    confusion: list[list[int]]
    """[true class][predicted class] → rows"""
    intervals: dict[str, Interval] = {}
    """95 % intervals of WITH_INTERVALS. None of train: the model has seen its images."""
    calibration: Calibration | None = None
    """None of train."""


def read_metrics(store: Store, evaluation: Manifest) -> dict[str, SplitMetrics]:
    """Split → its metrics, as they are stored. Raises PermanentError where they are not those of such data."""
    names = load(store, evaluation.inputs["prepared"]).facts["class_names"]

    def read(path: Path) -> dict[str, SplitMetrics]:
        metrics = TypeAdapter(dict[str, SplitMetrics]).validate_json(path.read_bytes(), strict=True)
        if {*metrics} != {*SPLITS}:
            raise ValueError(f"it has the splits {', '.join(metrics)}")
        for split, each in metrics.items():
            if [one.name for one in each.per_class] != names or np.shape(each.confusion) != (len(names), len(names)):
                raise ValueError(f"{split} has other classes than the data")
            if split != "train" and (each.calibration is None or {*each.intervals} != {*WITH_INTERVALS}):
                raise ValueError(f"{split} has no calibration, or not all intervals")
        return metrics

    return read_file(store, evaluation, "metrics", read)


def calibration_of(metrics: SplitMetrics) -> Calibration:
    """That of validation or test."""
    assert metrics.calibration, "train has none"
    return metrics.calibration


def measure(probabilities: np.ndarray, labels: np.ndarray, class_names: list[str]) -> SplitMetrics:
    """Metrics of `probabilities` (N, classes) against `labels` (N,)."""
    return measure_blocks([probabilities], labels, class_names)


def measure_blocks(blocks: Iterable[np.ndarray], labels: np.ndarray, class_names: list[str]) -> SplitMetrics:
    """`measure` of probabilities that come in blocks of rows, of which one is in memory at a time."""
    from sklearn import metrics  # seconds to import: reports only need the classes above

    classes, chosen = np.arange(len(class_names)), np.empty(len(labels), np.int32)
    loss, within_five, end = 0.0, 0, 0
    for probabilities in blocks:
        first, end = end, end + len(probabilities)
        exact, true = probabilities.astype(np.float64), labels[first:end]
        exact /= exact.sum(axis=1, keepdims=True)
        chosen[first:end] = probabilities.argmax(axis=1)
        loss += float(metrics.log_loss(true, exact, labels=classes, normalize=False))
        if len(classes) > 5:
            within_five += int(metrics.top_k_accuracy_score(true, exact, k=5, labels=classes, normalize=False))
    scores = metrics.precision_recall_fscore_support(labels, chosen, labels=classes, zero_division=0.0)
    per_class = zip(class_names, *scores, strict=True)
    return SplitMetrics(
        rows=len(labels),
        loss=loss / len(labels),
        accuracy=float(metrics.accuracy_score(labels, chosen)),
        top5_accuracy=within_five / len(labels) if len(classes) > 5 else 1.0,
        macro_f1=float(np.mean(scores[2][scores[3] > 0])),
        per_class=[
            ClassMetrics(name=name, precision=float(p), recall=float(r), f1=float(f), rows=int(n))
            for name, p, r, f, n in per_class
        ],
        confusion=metrics.confusion_matrix(labels, chosen, labels=classes).tolist(),
    )


def from_confusion(stated: dict[str, Any], labels: np.ndarray) -> dict[str, Any]:
    """What metrics of `labels` must be that have the confusion matrix of `stated`; loss and top-5 are left as they are.

    Raises PermanentError where the matrix is not one of these labels, or top-5 cannot go with it.
    """
    matrix, names = np.array(stated["confusion"]), [each["name"] for each in stated["per_class"]]
    if matrix.min() < 0 or matrix.sum(axis=1).tolist() != np.bincount(labels, minlength=len(names)).tolist():
        raise PermanentError("a confusion matrix must have the rows of each class; received that of other labels")
    true, predicted = (np.repeat(axis.ravel(), matrix.ravel()) for axis in np.indices(matrix.shape))
    measured = measure(np.eye(len(names))[predicted], true, names)
    if not measured.accuracy <= stated["top5_accuracy"] <= 1 or stated["loss"] < 0:
        raise PermanentError("top-5 accuracy must be from accuracy to 1, and loss at least 0")
    return measured.model_dump() | {name: stated[name] for name in ("loss", "top5_accuracy")}
