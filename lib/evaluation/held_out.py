"""What can be said of images that a model did not learn from: intervals of its figures, and its calibration."""

from typing import Any

import numpy as np

from lib.evaluation.calibration import apply_temperature, calibration_error, calibration_error_by_chance, reliability
from lib.evaluation.intervals import macro_f1_interval, mean_intervals, wilson
from lib.evaluation.metrics import Calibration, Point, Reliability, SplitMetrics
from lib.evaluation.per_image import PerImage, per_image

SEED = 0
"""Of resampling: the same images have the same intervals."""
RESAMPLED = ("macro_f1", "loss")
"""Intervals that another version of NumPy draws a little differently; Wilson's follow from two numbers."""
APART = 0.1
"""By how much of their width, at most."""


def held_out(metrics: SplitMetrics, probabilities: np.ndarray, labels: np.ndarray, temperature: float) -> SplitMetrics:
    """`metrics` of `probabilities` (N, classes) and `labels` (N,), with intervals and calibration.

    `temperature` is that of the model, from `lib.evaluation.calibration.fit_temperature`.
    """
    raw, scaled = (per_image(each, labels) for each in (probabilities, apply_temperature(probabilities, temperature)))
    rows, right = metrics.rows, int(raw.right.sum())
    intervals = {
        "accuracy": wilson(right, rows),
        "top5_accuracy": wilson(int(raw.in_top5.sum()), rows),
        "macro_f1": macro_f1_interval(np.array(metrics.confusion), SEED),
        "loss": mean_intervals(raw.loss[:, np.newaxis], SEED)[0],
    }
    calibration = Calibration(temperature=temperature, raw=_reliability(raw), scaled=_reliability(scaled))
    return metrics.model_copy(update={"intervals": intervals, "calibration": calibration})


def as_resampled(right: dict[str, Any], stated: dict[str, Any]) -> dict[str, Any]:
    """For verify: `right`, with the resampled figures of `stated` where they are about the same."""
    intervals, calibration = dict(right["intervals"]), {}
    for name in RESAMPLED:
        given, (low, high) = stated["intervals"].get(name), intervals[name]
        if given and all(abs(a - b) <= APART * (high - low) for a, b in zip(given, (low, high), strict=True)):
            intervals[name] = given
    for name in ("raw", "scaled"):
        each, given = right["calibration"][name], stated["calibration"][name]["by_chance"]
        alike = abs(given - each["by_chance"]) <= APART * each["by_chance"]
        calibration[name] = {**each, "by_chance": given if alike else each["by_chance"]}
    return {**right, "intervals": intervals, "calibration": {**right["calibration"], **calibration}}


def _reliability(images: PerImage) -> Reliability:
    bins = reliability(images.confidence, images.right)
    return Reliability(
        error=calibration_error(bins),
        by_chance=calibration_error_by_chance(images.confidence, SEED),
        points=[Point(**each._asdict()) for each in bins],
    )
