"""Rows whose label is probably wrong, by confident learning (Northcutt, Jiang & Chuang 2021, arXiv:1911.00068)."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SuspectedLabels:
    """The rows of a split that are suspected, the most suspicious first, and the class that each seems to show."""

    rows: np.ndarray  # (n,) int64, each once
    suggested: np.ndarray  # (n,) int64, never the row's own label


def suspect_labels(probabilities: np.ndarray, labels: np.ndarray) -> SuspectedLabels:
    """As many rows of each class as are probably of another one, and of these the least probable.

    `probabilities` (N, classes) must be predictions of a model that was not trained on these rows: it remembers the
    labels of those. A row is surely of a class that it gives at least the mean probability of the rows with that label
    (of several, the most probable), so a model that is never sure of anything is judged by its own measure. Of the
    rows with a label that are surely of some class, the share that is of another one is the share of wrong labels; so
    many with that label are suspected, those which give it the least probability ("prune by class"). They are ranked by
    that probability; of equal ones the first row comes first. What is suggested is the most probable other class.
    """
    classes, every = probabilities.shape[1], np.arange(len(labels))
    exact = probabilities.astype(np.float64)
    own, rows_of = exact[every, labels], np.bincount(labels, minlength=classes)
    thresholds = np.full(classes, np.inf)
    np.divide(np.bincount(labels, own, classes), rows_of, out=thresholds, where=rows_of > 0)
    # The mean of equal numbers may be larger than they are, by a rounding.
    confident = np.where(exact >= thresholds * (1 - 1e-9), exact, -1)
    sure = np.flatnonzero(confident.max(axis=1) >= 0)
    joint = np.zeros((classes, classes))
    np.add.at(joint, (labels[sure], confident[sure].argmax(axis=1)), 1)
    wrong = joint.sum(axis=1) - joint.diagonal()
    suspects = np.rint(rows_of * wrong / np.maximum(joint.sum(axis=1), 1)).astype(int)
    ranked = np.argsort(own, kind="stable")
    place_in_class = np.empty(len(labels), int)
    for label in range(classes):
        place_in_class[ranked[labels[ranked] == label]] = np.arange(rows_of[label])
    ranked = ranked[place_in_class[ranked] < suspects[labels[ranked]]]
    others = np.where(np.arange(classes) == labels[ranked, np.newaxis], -1, exact[ranked])
    return SuspectedLabels(ranked, others.argmax(axis=1))
