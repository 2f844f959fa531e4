"""Intervals and calibration of images that a model did not learn from."""

from typing import Any

import numpy as np
import pytest

from lib.errors import PermanentError
from lib.evaluation.held_out import as_resampled, held_out
from lib.evaluation.metrics import SplitMetrics, measure
from lib.lineage.verify import must_equal

NAMES = ["a", "b", "c"]
LABELS = np.arange(300) % 3


def overconfident(rows: int = 300) -> np.ndarray:
    """Right in 6 of 10 rows, with a probability of 0.9 in all."""
    chosen = (LABELS[:rows] + (np.arange(rows) % 10 >= 6)) % 3
    probabilities = np.full((rows, 3), 0.05, np.float32)
    probabilities[np.arange(rows), chosen] = 0.9
    return probabilities


@pytest.fixture(scope="module")
def judged() -> SplitMetrics:
    probabilities = overconfident()
    # At T, 0.9 becomes 1 / (1 + 2 · 18^(−1/T)): 0.6 at T = ln 18 / ln 3.
    return held_out(measure(probabilities, LABELS, NAMES), probabilities, LABELS, np.log(18) / np.log(3))


def test_each_figure_lies_within_its_interval(judged: SplitMetrics) -> None:
    # Wilson's of 180 of 300, with z = 1.959964: (0.6 + 0.0064 ± 0.0558) / 1.0128.
    assert judged.intervals["accuracy"] == pytest.approx((0.5437, 0.6539), abs=2e-4)
    assert judged.intervals["top5_accuracy"].high == 1.0
    for name in ("macro_f1", "loss"):
        low, high = judged.intervals[name]
        assert low < getattr(judged, name) < high


def test_calibration_is_told_before_and_after_the_temperature(judged: SplitMetrics) -> None:
    assert judged.calibration
    raw, scaled = judged.calibration.raw, judged.calibration.scaled
    assert raw.error == pytest.approx(0.3, abs=1e-6)
    assert raw.by_chance < 0.05
    assert scaled.error == pytest.approx(0, abs=1e-6)
    (point,) = raw.points  # all rows are of one confidence
    assert (point.confidence, point.accuracy, point.rows) == (pytest.approx(0.9), 0.6, 300)
    assert scaled.points[0].confidence == pytest.approx(0.6)


def dumped(metrics: SplitMetrics, **intervals: Any) -> dict[str, Any]:
    stated = metrics.model_dump(mode="json")
    stated["intervals"] |= intervals
    return stated


def test_verify_takes_what_another_numpy_resampled_and_nothing_else(judged: SplitMetrics) -> None:
    right = dumped(judged)
    low, high = right["intervals"]["macro_f1"]
    near = dumped(judged, macro_f1=[low + 0.05 * (high - low), high])
    must_equal("here", "metrics", as_resampled(right, near), near)
    for forged in (
        dumped(judged, macro_f1=[low + 0.2 * (high - low), high]),
        dumped(judged, accuracy=[right["intervals"]["accuracy"][0] + 1e-6, right["intervals"]["accuracy"][1]]),
    ):
        with pytest.raises(PermanentError):
            must_equal("here", "metrics", as_resampled(right, forged), forged)
    forged = dumped(judged)
    forged["calibration"]["raw"]["by_chance"] *= 1.5
    with pytest.raises(PermanentError):
        must_equal("here", "metrics", as_resampled(right, forged), forged)
