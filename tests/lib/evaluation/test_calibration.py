"""Calibration: examples worked out by hand, made logits whose temperature is known, and degenerate inputs."""

from math import log

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from lib.evaluation.calibration import (
    apply_temperature,
    calibration_error,
    calibration_error_by_chance,
    calibration_error_interval,
    equal_mass_bins,
    fit_temperature,
    reliability,
)
from lib.evaluation.intervals import wilson
from lib.evaluation.per_image import per_image

SIMULATIONS = 2_000
CONFIDENCE = np.array([0.9, 0.6, 0.5, 0.8, 0.7, 1.0])
RIGHT = np.array([True, False, True, True, False, True])


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def made(rows: int, classes: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """float32 probabilities (rows, classes) that are right at `temperature`, and labels drawn from those."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(rows, classes)) * 2
    labels = (softmax(logits).cumsum(axis=1) > random.random((rows, 1))).argmax(axis=1)
    return softmax(logits * temperature).astype(np.float32), labels


def test_bins_hold_equally_many_in_the_order_of_confidence() -> None:
    assert equal_mass_bins(CONFIDENCE, 3).tolist() == [2, 0, 0, 1, 1, 2]
    assert np.bincount(equal_mass_bins(np.random.default_rng(0).random(1_500))).tolist() == [100] * 15


def test_equal_confidences_share_the_bin_of_their_middle_rank() -> None:
    # Ranks 1 to 4 are equal, 2.5 in the middle: (2.5 − 0.5) · 3 / 6 = 1.
    assert equal_mass_bins(np.array([0.5, 0.5, 0.5, 0.5, 0.9, 1.0]), 3).tolist() == [1, 1, 1, 1, 2, 2]
    assert len({*equal_mass_bins(np.ones(1_000))}) == 1


def test_bins_do_not_depend_on_the_order_of_rows() -> None:
    random = np.random.default_rng(0)
    confidence, order = random.random(500).round(2), random.permutation(500)
    assert np.array_equal(equal_mass_bins(confidence)[order], equal_mass_bins(confidence[order]))


def test_points_and_error_are_those_worked_out_by_hand() -> None:
    points = reliability(CONFIDENCE, RIGHT, 3)
    assert [(each.confidence, each.accuracy, each.rows) for each in points] == [
        (pytest.approx(0.55), 0.5, 2),
        (pytest.approx(0.75), 0.5, 2),
        (pytest.approx(0.95), 1.0, 2),
    ]
    assert [each.interval for each in points] == [wilson(1, 2), wilson(1, 2), wilson(2, 2)]
    assert calibration_error(points) == pytest.approx((0.05 + 0.25 + 0.05) / 3)


def test_points_are_those_of_scikit_learn_where_no_confidences_are_equal() -> None:
    random = np.random.default_rng(1)
    confidence = random.random(1_500)
    right = random.random(1_500) < confidence**2
    accuracy, mean = calibration_curve(right, confidence, n_bins=15, strategy="quantile")
    points = reliability(confidence, right)
    assert [each.accuracy for each in points] == pytest.approx(accuracy)
    assert [each.confidence for each in points] == pytest.approx(mean)


def test_fewer_rows_than_bins_have_a_bin_each() -> None:
    points = reliability(np.array([0.9, 0.3, 0.6]), np.array([True, False, True]))
    assert [(each.confidence, each.accuracy, each.rows) for each in points] == [(0.3, 0, 1), (0.6, 1, 1), (0.9, 1, 1)]
    assert calibration_error(points) == pytest.approx((0.3 + 0.4 + 0.1) / 3)


def test_a_calibrated_model_seldom_exceeds_what_chance_allows() -> None:
    random = np.random.default_rng(2)
    confidence = np.sort(random.uniform(0.3, 1, 450))  # 30 in each of 15 bins
    bound = calibration_error_by_chance(confidence, 0, resamples=4_000)
    gaps = (random.random((SIMULATIONS, 450)) < confidence) - confidence
    errors = np.abs(gaps.reshape(SIMULATIONS, 15, 30).sum(axis=2)).sum(axis=1) / 450
    assert np.mean(errors > bound) == pytest.approx(1 / 40, abs=0.01)
    assert calibration_error(reliability(confidence, random.random(450) < confidence - 0.25)) > bound


@pytest.mark.slow
@pytest.mark.parametrize(
    ("temperature", "rows", "least", "most"),
    [
        (2.5, 1_000, 0.93, 0.97),  # the error is clear
        (1.0, 300, 0.93, 1.0),  # calibrated: the truth is about 0
        (1.15, 300, 0.93, 1.0),  # gaps are smaller than their noise
        (1.5, 300, 0.93, 1.0),  # about as large
    ],
)
def test_the_interval_of_the_calibration_error_holds_the_truth(
    temperature: float, rows: int, least: float, most: float
) -> None:
    random = np.random.default_rng(3)
    actual = random.beta(5, 1.2, 100_000) * 0.98 + 0.01
    said = 1 / (1 + ((1 - actual) / actual) ** temperature)
    truth = np.abs((actual - said)[np.argsort(said)][:99_990].reshape(15, -1).mean(axis=1)).mean()
    held = 0
    for seed in range(SIMULATIONS):
        drawn = random.integers(0, len(said), rows)
        low, high = calibration_error_interval(said[drawn], random.random(rows) < actual[drawn], seed, resamples=200)
        held += low <= truth <= high
    assert least <= held / SIMULATIONS <= most


@pytest.mark.parametrize("temperature", [2.5, 1.0, 0.5])
@pytest.mark.parametrize("classes", [10, 100])
def test_the_temperature_of_made_logits_is_found(temperature: float, classes: int) -> None:
    probabilities, labels = made(10_000, classes, temperature)
    assert fit_temperature(probabilities, labels) == pytest.approx(temperature, abs=0.05)


def test_the_temperature_found_has_the_least_loss() -> None:
    probabilities, labels = made(2_000, 20, 1.7)
    best = fit_temperature(probabilities, labels)
    losses = [log_loss(labels, apply_temperature(probabilities, best * factor)) for factor in (0.97, 1, 1.03)]
    assert losses[1] == min(losses)


def test_blocks_do_not_change_the_temperature(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities, labels = made(1_000, 30, 2)
    whole = fit_temperature(probabilities, labels), apply_temperature(probabilities, 2)
    monkeypatch.setattr("lib.evaluation.calibration.CACHED", 70)
    assert fit_temperature(probabilities, labels) == whole[0]
    assert np.array_equal(apply_temperature(probabilities, 2), whole[1])


def test_probabilities_at_a_temperature_are_those_worked_out_by_hand() -> None:
    probabilities = np.array([[0.8, 0.2], [0.5, 0.5]], np.float32)
    # Odds 4 become √4 = 2 at temperature 2, and 4² = 16 at temperature 1/2.
    assert apply_temperature(probabilities, 2) == pytest.approx(np.array([[2 / 3, 1 / 3], [0.5, 0.5]]))
    assert apply_temperature(probabilities, 0.5) == pytest.approx(np.array([[16 / 17, 1 / 17], [0.5, 0.5]]))
    assert apply_temperature(probabilities, 2).dtype == np.float32


def test_a_temperature_undoes_its_inverse_and_1_changes_nothing() -> None:
    probabilities, _ = made(300, 50, 1)
    before = probabilities.copy()
    assert apply_temperature(probabilities, 1) == pytest.approx(probabilities, rel=1e-5)
    assert apply_temperature(apply_temperature(probabilities, 2), 0.5) == pytest.approx(probabilities, rel=1e-4)
    assert np.array_equal(probabilities, before)


def test_scaling_lowers_the_calibration_error_of_an_overconfident_model() -> None:
    probabilities, labels = made(5_000, 10, 2.5)
    scaled = apply_temperature(probabilities, fit_temperature(probabilities, labels))
    before, after = (per_image(each, labels) for each in (probabilities, scaled))
    assert calibration_error(reliability(before.confidence, before.right)) > 0.1
    assert calibration_error(reliability(after.confidence, after.right)) < 0.03
    assert np.array_equal(before.right, after.right)


def test_exact_zeros_are_as_small_as_float32_gets() -> None:
    # ln of the least normal float32 is −87.3365: at temperature 50 odds of e^(−87.3365 / 50) = 0.1743.
    scaled = apply_temperature(np.array([[1, 0]], np.float32), 50)
    assert scaled[0, 1] / scaled[0, 0] == pytest.approx(0.17433, rel=1e-4)


DEGENERATE = {
    "all right": (np.array([[0.9, 0.1], [0.2, 0.8]]), [0, 1], 1.0),
    "one class": (np.ones((3, 1)), [0, 0, 0], 1.0),
    "one row, right": (np.array([[0.3, 0.7]]), [1], 1.0),
    "one row, wrong": (np.array([[0.3, 0.7]]), [0], 20.0),
    "all wrong": (np.array([[0.9, 0.1], [0.2, 0.8]]), [1, 0], 20.0),
    "uniform": (np.full((8, 4), 0.25), [0, 1, 2, 3] * 2, 1.0),
    "certain and wrong": (np.eye(3)[[0, 1, 2, 0]], [1, 1, 2, 0], None),
    "certain and right": (np.eye(3), [0, 1, 2], 1.0),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_input_has_a_finite_answer_and_no_warning(name: str) -> None:
    values, classes, expected = DEGENERATE[name]
    probabilities, labels = values.astype(np.float32), np.array(classes)
    temperature = fit_temperature(probabilities, labels)
    assert 0.05 <= temperature <= 20
    assert expected is None or temperature == pytest.approx(expected, abs=1e-3)
    scaled = apply_temperature(probabilities, temperature)
    assert np.isfinite(scaled).all()
    assert scaled.sum(axis=1) == pytest.approx(1)
    images = per_image(scaled, labels)
    assert 0 <= calibration_error(reliability(images.confidence, images.right)) <= 1
    low, high = calibration_error_interval(images.confidence, images.right, 0)
    assert 0 <= low <= high <= 1.5


def test_certain_and_one_of_four_wrong_has_the_temperature_worked_out_by_hand() -> None:
    values, classes, _ = DEGENERATE["certain and wrong"]
    # With odds r of either other class in each row, 4 ln(1 + 2 r) − ln r is least at r = 1/6. Exact zeros would have it
    # at −87.3365 / ln r = 48.7, beyond the largest; zeros of e⁻⁹, at 9 / ln 6.
    assert fit_temperature(values.astype(np.float32), np.array(classes)) == 20.0
    softer = softmax(values * 9).astype(np.float32)
    assert fit_temperature(softer, np.array(classes)) == pytest.approx(9 / log(6), abs=1e-3)
