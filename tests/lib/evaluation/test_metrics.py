"""Metrics of examples that were worked out by hand."""

from math import log

import numpy as np
import pytest

from lib.evaluation.metrics import ClassMetrics, measure

NAMES = ["cat", "dog", "eel"]
# Truth and argmax: cat→cat, cat→dog, cat→cat, dog→dog, dog→dog, eel→cat.
LABELS = np.array([0, 0, 0, 1, 1, 2], np.int16)
PROBABILITIES = np.array(
    [
        [0.50, 0.25, 0.25],
        [0.25, 0.50, 0.25],
        [0.50, 0.25, 0.25],
        [0.25, 0.50, 0.25],
        [0.00, 1.00, 0.00],
        [0.50, 0.25, 0.25],
    ],
    np.float32,
)


def test_a_small_example_gives_the_numbers_worked_out_by_hand() -> None:
    metrics = measure(PROBABILITIES, LABELS, NAMES)
    assert metrics.rows == 6
    assert metrics.accuracy == pytest.approx(4 / 6)
    # The true classes have 1/2, 1/4, 1/2, 1/2, 1 and 1/4: halvings 1 + 2 + 1 + 1 + 0 + 2.
    assert metrics.loss == pytest.approx(7 / 6 * log(2))
    assert metrics.confusion == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    columns = [(c.name, c.precision, c.recall, c.f1, c.rows) for c in metrics.per_class]
    assert columns[0] == ("cat", *[pytest.approx(2 / 3)] * 3, 3)
    assert columns[1] == ("dog", pytest.approx(2 / 3), 1.0, pytest.approx(0.8), 2)
    assert columns[2] == ("eel", 0.0, 0.0, 0.0, 1)
    assert metrics.macro_f1 == pytest.approx((2 / 3 + 0.8 + 0) / 3)


def test_of_five_classes_or_fewer_the_right_one_is_always_among_five() -> None:
    assert measure(PROBABILITIES, LABELS, NAMES).top5_accuracy == 1.0


def test_of_six_classes_the_last_ranked_is_not_among_five() -> None:
    ranked = np.array([0.30, 0.25, 0.20, 0.12, 0.08, 0.05])  # class 5 comes last
    metrics = measure(np.tile(ranked, (4, 1)), np.array([0, 4, 5, 5]), list("abcdef"))
    assert metrics.top5_accuracy == 0.5
    assert metrics.accuracy == 0.25
    assert metrics.loss == pytest.approx(-(log(0.30) + log(0.08) + 2 * log(0.05)) / 4)


def test_a_class_without_rows_is_listed_with_zeros() -> None:
    metrics = measure(PROBABILITIES[:5], LABELS[:5], NAMES)
    assert metrics.per_class[2] == ClassMetrics(name="eel", precision=0.0, recall=0.0, f1=0.0, rows=0)
    assert metrics.confusion == [[2, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert measure(np.eye(6)[:2] * 0.4 + 0.1, np.array([0, 1]), list("abcdef")).top5_accuracy == 1.0


def test_a_uniform_guess_has_the_logarithm_of_the_classes_for_loss() -> None:
    metrics = measure(np.full((200, 100), 0.01, np.float32), np.arange(200) % 100, [str(n) for n in range(100)])
    assert metrics.loss == pytest.approx(log(100), rel=1e-6)


def test_float32_probabilities_that_miss_1_by_a_rounding_are_measured_without_a_warning() -> None:
    random = np.random.default_rng(0)
    raw = np.exp(random.normal(size=(500, 100)) * 5).astype(np.float32)
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    labels = random.integers(0, 100, 500)
    metrics = measure(probabilities, labels, [str(n) for n in range(100)])
    expected = -np.log(probabilities[np.arange(500), labels].astype(np.float64)).mean()
    assert metrics.loss == pytest.approx(expected, rel=1e-5)
    assert metrics.accuracy == pytest.approx((probabilities.argmax(axis=1) == labels).mean())


def test_a_true_class_with_probability_0_has_a_finite_loss() -> None:
    metrics = measure(np.array([[1, 0, 0], [0, 1, 0]], np.float32), np.array([1, 1]), NAMES)
    assert 10 < metrics.loss < 400
    assert metrics.accuracy == 0.5


def test_the_probabilities_given_stay_as_they_are() -> None:
    before = PROBABILITIES.copy()
    measure(PROBABILITIES, LABELS, NAMES)
    assert np.array_equal(PROBABILITIES, before)
    doubles = PROBABILITIES.astype(np.float64) * 2
    measure(doubles, LABELS, NAMES)
    assert np.array_equal(doubles, before.astype(np.float64) * 2)


def test_a_class_without_rows_does_not_count_in_the_mean_of_classes() -> None:
    probabilities = np.array([[0.9, 0.05, 0.05], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]], np.float32)
    measured = measure(probabilities, np.array([0, 0, 1]), ["a", "b", "of no row"])
    assert [each.rows for each in measured.per_class] == [2, 1, 0]
    assert measured.macro_f1 == 1
