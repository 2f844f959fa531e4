"""What probabilities say of each image, for intervals, paired tests and calibration."""

from typing import NamedTuple

import numpy as np

TOP = 5
LEAST = float(np.finfo(np.float64).eps)
"""A probability below it counts as this one, as in scikit-learn's log_loss, so that each loss is finite."""


class PerImage(NamedTuple):
    """One model on N images; the mean of each of the last three is what `measure` gives."""

    confidence: np.ndarray
    """(N,) float64: probability of the predicted class."""
    right: np.ndarray
    """(N,) bool: the predicted class is the true one."""
    in_top5: np.ndarray
    """(N,) bool: at most four classes come before the true one."""
    loss: np.ndarray
    """(N,) float64: cross-entropy in nats."""


def per_image(probabilities: np.ndarray, labels: np.ndarray) -> PerImage:
    """Of `probabilities` (N, classes) and `labels` (N,).

    Where probabilities are equal, the first class is the predicted one, and the last comes first in the top five: both
    as in `measure`.
    """
    rows, classes = np.arange(len(labels)), np.arange(probabilities.shape[1])
    true, sums = probabilities[rows, labels][:, np.newaxis], probabilities.sum(axis=1, dtype=np.float64)
    after = classes > labels[:, np.newaxis]
    before = ((probabilities > true) | ((probabilities == true) & after)).sum(axis=1)
    return PerImage(
        confidence=probabilities.max(axis=1) / sums,
        right=probabilities.argmax(axis=1) == labels,
        in_top5=before < TOP,
        loss=-np.log(np.maximum(true[:, 0] / sums, LEAST)),
    )
