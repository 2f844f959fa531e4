"""What images are compared with: the validation images of a model, and what it said of them."""

import numpy as np

from lib.data.rows import open_rows
from lib.evaluation.calibration import apply_temperature
from lib.evaluation.prediction_table import read_probabilities
from lib.lineage.manifests import Manifest, load
from lib.prediction.drift import BLOCK_ROWS, Reference, figures
from lib.store import Store

MOST_ROWS = 10_000
"""Whose figures are compared: more tell hardly more, and take memory and time."""
SEED = 20_261_128


def sample(rows: int) -> np.ndarray:
    """At most MOST_ROWS of 0 to `rows` - 1, in ascending order: the same each time."""
    if rows <= MOST_ROWS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(SEED).choice(rows, MOST_ROWS, replace=False))


def read_reference(store: Store, evaluation: Manifest) -> Reference:
    """Of `evaluation`, worked out from the prepared data and the stored predictions: the same each time.

    Raises PermanentError where these are not as they were left.
    """
    prepared = load(store, evaluation.inputs["prepared"])
    rows = open_rows(store, prepared, ("validation",))["validation"]
    chosen = sample(len(rows.labels))
    blocks = (chosen[start : start + BLOCK_ROWS] for start in range(0, len(chosen), BLOCK_ROWS))
    found = np.concatenate([figures(rows.images.take(block)) for block in blocks])
    probabilities = read_probabilities(store, evaluation, "validation")
    predicted = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])
    confidence = apply_temperature(probabilities, evaluation.facts["temperature"]).max(axis=1)
    accuracy = evaluation.facts["metrics"]["validation"]["accuracy"]
    return Reference(found, predicted, float(confidence.mean(dtype=np.float64)), accuracy)
