"""Intervals: published values, values worked out by hand, and how often they hold the truth."""

import tracemalloc
from functools import cache

import numpy as np
import pytest
from sklearn.metrics import f1_score

from lib.evaluation.intervals import (
    Interval,
    accuracy_over_seeds,
    bootstrap,
    macro_f1_interval,
    macro_f1_of_cells,
    mean_intervals,
    over_seeds,
    percentiles,
    wilson,
)

SIMULATIONS = 2_000
HELD = pytest.approx(0.95, abs=0.02)
CONFUSION = np.array([[50, 8, 2], [5, 30, 5], [0, 4, 16]])


def held(intervals: list[Interval], truth: float) -> float:
    """The share of `intervals` that hold `truth`."""
    return float(np.mean([low <= truth <= high for low, high in intervals]))


@pytest.mark.parametrize(
    ("right", "rows", "low", "high"),
    # The first four: Newcombe (1998), Statistics in Medicine 17:857, table I, method 3. The last by hand, z = 1.959964:
    # (359 + z²/2 ± z √(359 · 1 / 360 + z²/4)) / (360 + z²).
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (359, 360, 0.9844, 0.9995),
    ],
)
def test_wilsons_interval_is_the_published_one(right: int, rows: int, low: float, high: float) -> None:
    assert wilson(right, rows) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_where_all_are_right_wilsons_interval_still_has_a_width() -> None:
    # With z = 1.959964: 20 / (20 + z²) = 0.8389.
    assert wilson(20, 20) == (pytest.approx(0.8389, abs=5e-5), 1.0)


@pytest.mark.parametrize(("share", "rows"), [(0.5, 100), (0.74, 10_000), (0.926, 10_000), (0.95, 360)])
def test_wilsons_interval_holds_the_truth_as_often_as_it_says(share: float, rows: int) -> None:
    counts = np.random.default_rng(0).binomial(rows, share, SIMULATIONS)
    assert held(list(map(cache(wilson), counts, [rows] * SIMULATIONS)), share) == HELD


@pytest.mark.parametrize("counts", [np.ones(200, np.int64), np.array([120, 50, 0, 30]), np.array([2, 0])])
def test_each_resample_has_as_many_images_as_there_are(counts: np.ndarray) -> None:
    weights = bootstrap(counts, lambda weights: weights, seed=3, resamples=4_000)
    assert weights.shape == (4_000, len(counts))
    assert (weights.sum(axis=1) == counts.sum()).all()
    # Of a multinomial: mean n p, variance n p (1 − p).
    share = counts / counts.sum()
    assert weights.mean(axis=0) == pytest.approx(counts, abs=5 * np.sqrt(counts.max() / 4_000))
    assert weights.var(axis=0).mean() == pytest.approx((counts * (1 - share)).mean(), rel=0.1, abs=1e-12)


def test_a_seed_gives_the_same_interval_and_another_one_another() -> None:
    values = np.random.default_rng(0).exponential(size=(300, 2))
    assert mean_intervals(values, 7) == mean_intervals(values, 7) != mean_intervals(values, 8)
    assert macro_f1_interval(CONFUSION, 7) == macro_f1_interval(CONFUSION, 7) != macro_f1_interval(CONFUSION, 8)


def test_memory_does_not_grow_with_resamples() -> None:
    peaks = []
    for resamples in (200, 2_000):
        tracemalloc.start()
        mean_intervals(np.ones((10_000, 1)), 0, resamples)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < 30e6


def test_the_percentiles_leave_a_fortieth_on_each_side() -> None:
    assert percentiles(np.arange(1_001.0)) == pytest.approx((25, 975))


def test_the_interval_of_a_mean_is_that_of_normal_theory_where_images_are_many() -> None:
    values = np.random.default_rng(1).exponential(size=(2_500, 1))
    [(low, high)] = mean_intervals(values, 0)
    half = 1.96 * values.std() / 50
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.15 * half)


@pytest.mark.slow
def test_the_interval_of_a_mean_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    intervals = [mean_intervals(random.exponential(size=(400, 1)), n, 500)[0] for n in range(SIMULATIONS)]
    assert held(intervals, 1) == HELD


def test_macro_f1_of_weights_is_scikit_learns_with_these_weights() -> None:
    random = np.random.default_rng(4)
    true, predicted = random.integers(0, 6, (2, 40))
    weights = random.integers(0, 3, (20, 40))
    weights[0, true == 2] = 0  # of no row: it does not count
    received = macro_f1_of_cells(true, predicted, 8)(weights.astype(float))
    for each, value in zip(weights, received, strict=True):
        there = np.unique(true[each > 0])
        expected = f1_score(true, predicted, sample_weight=each, labels=there, average="macro", zero_division=0)
        assert value == pytest.approx(expected)


def test_resampling_cells_of_the_confusion_is_resampling_images() -> None:
    true, predicted = (np.repeat(axis.ravel(), CONFUSION.ravel()) for axis in np.indices(CONFUSION.shape))
    images = percentiles(bootstrap(np.ones(120, np.int64), macro_f1_of_cells(true, predicted, 3), 0, 20_000))
    # The deviation of macro F1 is about 0.04, and of a percentile of 20,000 about 0.02 of that.
    assert macro_f1_interval(CONFUSION, 1, 20_000) == pytest.approx(images, abs=0.004)


def test_the_interval_of_macro_f1_lies_around_it() -> None:
    # F1 by hand: 100/115, 60/87 and 32/43; their mean is 0.7678.
    low, high = macro_f1_interval(CONFUSION, 0)
    assert low < (100 / 115 + 60 / 87 + 32 / 43) / 3 < high
    assert 0.1 < high - low < 0.25


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("confusion", [np.diag([5, 3]), np.array([[4]]), np.array([[0, 0], [0, 1]])])
def test_where_all_are_right_macro_f1_is_a_point(confusion: np.ndarray) -> None:
    assert macro_f1_interval(confusion, 0) == (1, 1)


@pytest.mark.slow
def test_the_interval_of_macro_f1_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    shares = np.full((8, 8), 0.03) + np.diag(np.linspace(0.4, 0.9, 8))
    shares *= (np.linspace(1, 3, 8) / shares.sum(axis=1))[:, np.newaxis]  # classes of different size
    shares /= shares.sum()
    truth = np.mean(2 * np.diag(shares) / (shares.sum(axis=0) + shares.sum(axis=1)))
    drawn = random.multinomial(1_000, shares.ravel(), SIMULATIONS).reshape(-1, 8, 8)
    assert held([macro_f1_interval(each, n, 500) for n, each in enumerate(drawn)], float(truth)) == HELD


def test_seeds_have_students_interval() -> None:
    # Deviation 0.02; t at 0.975 with 2 degrees of freedom is 4.303 (any table); 4.303 · 0.02 / √3 = 0.04969.
    seeds = over_seeds([0.90, 0.92, 0.94])
    assert (seeds.mean, seeds.deviation, seeds.n) == (pytest.approx(0.92), pytest.approx(0.02), 3)
    assert seeds.interval == (pytest.approx(0.92 - 0.04969, abs=1e-5), pytest.approx(0.92 + 0.04969, abs=1e-5))


@pytest.mark.filterwarnings("error")
def test_one_seed_has_no_deviation_and_equal_seeds_have_none_either() -> None:
    assert over_seeds([0.9]) == (0.9, None, 1, None)
    assert over_seeds([0.5, 0.5]) == (0.5, 0.0, 2, (0.5, 0.5))


@pytest.mark.parametrize("n", [2, 5])
def test_the_interval_over_seeds_holds_the_mean_as_often_as_it_says(n: int) -> None:
    drawn = np.random.default_rng(6).normal(0.9, 0.01, (SIMULATIONS, n))
    intervals = [each.interval for each in map(over_seeds, drawn)]
    assert held([each for each in intervals if each], 0.9) == HELD


@pytest.mark.parametrize(("seeds", "images", "apart"), [(3, 144, 0.0), (3, 500, 0.01), (5, 2_000, 0.01)])
def test_an_interval_over_seeds_and_images_holds_the_truth(seeds: int, images: int, apart: float) -> None:
    random = np.random.default_rng(0)
    bounds = []
    for _ in range(SIMULATIONS // 2):
        # Each image is hard or easy for all seeds alike, and seeds are better or worse.
        easy = random.random(images) < 0.7
        share = np.where(easy, 0.95, 0.45) + random.normal(0, apart, (seeds, 1))
        bounds.append(accuracy_over_seeds(random.random((seeds, images)) < share).interval)
    assert 0.93 <= held(bounds, 0.8) <= 0.98


def test_seeds_that_agree_on_all_images_have_the_interval_of_one() -> None:
    assert accuracy_over_seeds(np.array([[True] * 19 + [False]] * 3)).interval == wilson(19, 20)
