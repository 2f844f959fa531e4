"""Two models on the same images: published values, values worked out by hand, and how often each errs."""

from functools import cache
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from lib.evaluation.paired import (
    discordant,
    holm,
    lowest_difference,
    mcnemar,
    p_of_difference,
    rows_needed,
    shared_ranks,
)

SIMULATIONS = 2_000


def models(*right: np.ndarray) -> list[np.ndarray]:
    """Of one seed each."""
    return [each[np.newaxis] for each in right]


def row(right: str) -> np.ndarray:
    """Which images a model has right, one character each: 1 or 0."""
    return np.array([each == "1" for each in right])


def test_discordant_images_are_those_that_one_model_alone_has_right() -> None:
    assert discordant(row("110100"), row("101010")) == (2, 2, 6)
    assert discordant(row("111100"), row("110000")) == (2, 0, 6)


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        # Armitage & Berry (1994), Statistical Methods in Medical Research, p. 127, media for tubercle bacilli; exact
        # p in the StatsDirect manual.
        (12, 2, 0.0129),
        # Bentur et al. (2009), 1 and 7 of 21 children, in Fagerland, Lydersen & Laake (2013), BMC Med Res Methodol 13.
        (1, 7, 0.0703),
        # By hand: all 5 on one side, 2 / 2⁵; all 6, 2 / 2⁶.
        (5, 0, 0.0625),
        (0, 6, 0.03125),
        (4, 4, 1.0),
        (0, 0, 1.0),
    ],
)
def test_mcnemars_exact_test_has_the_published_p(gained: int, lost: int, p: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p, abs=5e-5)


def test_the_one_sided_test_asks_whether_the_first_is_better() -> None:
    assert mcnemar(5, 0, "greater") == pytest.approx(1 / 32)
    assert mcnemar(0, 5, "greater") == 1
    # (C(8,7) + C(8,8)) / 2⁸
    assert mcnemar(7, 1, "greater") == pytest.approx(9 / 256)
    assert mcnemar(0, 0, "greater") == 1


@pytest.mark.parametrize("sides", ["two-sided", "greater"])
@pytest.mark.parametrize("discordance", [0.02, 0.05])
def test_equal_models_are_told_apart_in_at_most_one_of_twenty(sides: str, discordance: float) -> None:
    half = discordance / 2
    drawn = np.random.default_rng(0).multinomial(1_000, [half, half, 1 - discordance], SIMULATIONS)
    test = cache(mcnemar)
    found = np.mean([test(int(gained), int(lost), sides) <= 0.05 for gained, lost, _ in drawn])
    assert 0.005 < found < 0.05 + 2 * sqrt(0.05 * 0.95 / SIMULATIONS)


@pytest.mark.parametrize(
    ("gained", "lost", "rows", "level", "bound"),
    [
        # Both bounds of Tango's interval for Bentur et al., −0.517 to −0.026, in Fagerland, Lydersen & Laake (2014),
        # Statistics in Medicine 33:2850. The upper one is the lower one of the difference turned round.
        (1, 7, 21, 0.025, -0.517),
        (7, 1, 21, 0.025, 0.026),
        # R: PropCIs::scoreci.mp(25, 28, 618, conf.level = 0.9) is −0.0148 to 0.0247.
        (28, 25, 618, 0.05, -0.0148),
        (25, 28, 618, 0.05, -0.0247),
    ],
)
def test_the_bound_of_a_difference_is_tangos(gained: int, lost: int, rows: int, level: float, bound: float) -> None:
    assert lowest_difference(gained, lost, rows, level) == pytest.approx(bound, abs=5e-4 if rows == 21 else 5e-5)


def test_the_bound_of_a_difference_at_its_edges_is_the_one_worked_out_by_hand() -> None:
    z2 = 1.6448536269514722**2
    # None discordant: the likeliest shares under −d are 0 and d, so n d = z √(n (2 d − d (1 + d))).
    assert lowest_difference(0, 0, 100) == pytest.approx(-z2 / (100 + z2), abs=1e-8)
    # All gained: the likeliest under d are (1 ± d) / 2, so n (1 − d) = z √(n (1 − d²)).
    assert lowest_difference(100, 0, 100) == pytest.approx((100 - z2) / (100 + z2), abs=1e-8)
    assert lowest_difference(0, 100, 100) == -1
    assert lowest_difference(1, 0, 1) == pytest.approx((1 - z2) / (1 + z2), abs=1e-8)


def test_of_a_million_images_the_bound_is_that_of_normal_theory() -> None:
    difference, deviation = 0.01, sqrt(0.05 - 0.01**2) / 1e3
    bound = lowest_difference(30_000, 20_000, 1_000_000)
    assert bound == pytest.approx(difference - 1.6448536 * deviation, abs=0.01 * deviation)


@pytest.mark.parametrize(("gained", "lost", "rows"), [(0.04, 0.05, 500), (0.05, 0.05, 10_000), (0.01, 0.03, 1_000)])
def test_the_bound_of_a_difference_lies_below_it_as_often_as_it_says(gained: float, lost: float, rows: int) -> None:
    drawn = np.random.default_rng(1).multinomial(rows, [gained, lost, 1 - gained - lost], SIMULATIONS)
    below = [lowest_difference(int(up), int(down), rows) <= gained - lost for up, down, _ in drawn]
    assert np.mean(below) == pytest.approx(0.95, abs=0.02)


def test_holms_correction_is_the_one_worked_out_by_hand() -> None:
    # In order 0.005 · 4, 0.01 · 3, 0.03 · 2, 0.04 · 1, and none below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


def power(rows: int, difference: float, discordance: float, level: float, sides: int) -> float:
    """Of McNemar's exact test: over each number of discordant images, the share of samples that it rejects."""
    numbers = np.arange(1, rows + 1)
    least = stats.binom.isf(level / sides, numbers, 0.5) + 1
    gained = (discordance + difference) / 2 / discordance
    rejected = stats.binom.sf(least - 1, numbers, gained)
    rejected += stats.binom.cdf(numbers - least, numbers, gained) if sides == 2 else 0
    return float((stats.binom.pmf(numbers, rows, discordance) * rejected).sum())


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize(("difference", "discordance"), [(0.02, 0.1), (-0.01, 0.1), (0.005, 0.02), (0.05, 0.2)])
@pytest.mark.parametrize(("level", "wanted"), [(0.05, 0.8), (0.05, 0.95), (0.003, 0.8)])
def test_so_many_images_give_the_power_that_was_asked_for(
    sides: int, difference: float, discordance: float, level: float, wanted: float
) -> None:
    rows = rows_needed(difference, discordance, level=level, sides=1 if sides == 1 else 2, power=wanted)
    assert rows is not None
    assert wanted <= power(rows, abs(difference), discordance, level, sides) < wanted + 0.01


def test_the_number_of_images_is_connors_plus_the_correction() -> None:
    # Connor's formula for 0.30 against 0.15 gives 155 (154.05 before rounding up; published as 155), which becomes
    # 154.05 / 4 · (1 + √(1 + 4 / (154.05 · 0.15)))² = 167.1.
    assert rows_needed(0.15, 0.45) == 168
    assert rows_needed(0.02, 0.1) == rows_needed(-0.02, 0.1)


def test_no_number_of_images_tells_equal_models_apart_and_a_difference_is_within_the_discordance() -> None:
    assert rows_needed(0.0, 0.1) is None
    assert rows_needed(0.0, 0.0) is None
    with pytest.raises(ValueError, match="from the difference to 1; received"):
        rows_needed(0.1, 0.05)


def test_three_models_share_ranks_where_the_images_do_not_tell_them_apart() -> None:
    best = row("1" * 14 + "0" * 6)
    near = row("0" * 3 + "1" * 10 + "0" + "1" + "0" * 5)  # loses 4 and gains 1: p = 2 · 6 / 2⁵ = 0.375
    far = row("0" * 8 + "1" * 6 + "0" * 6)  # loses 8 and gains none: p = 2 / 2⁸ = 0.0078
    assert [int(each.sum()) for each in (best, near, far)] == [14, 11, 6]
    assert shared_ranks(models(best, near, far)) == [1, 1, 3]
    # At 0.005 the last cannot be told apart either.
    assert shared_ranks(models(best, near, far), level=0.005) == [1, 1, 1]


def test_a_leader_of_the_second_group_is_the_one_that_the_next_are_compared_with() -> None:
    # The third loses 8 to the first; the fourth loses 1 to the third; the fifth loses 10 to the third.
    rows = [row("1" * n + "0" * (30 - n)) for n in (30, 27, 22, 21, 12)]
    # Though the second and the third (5 lost: p = 0.0625) cannot be told apart, they have different ranks.
    assert mcnemar(*discordant(rows[1], rows[2])[:2]) == 0.0625
    assert shared_ranks(models(*rows)) == [1, 1, 3, 3, 5]


def test_ranks_of_equal_models_and_of_none() -> None:
    assert shared_ranks(models(*[row("0110")] * 3)) == [1, 1, 1]
    assert shared_ranks(models(row("1"))) == [1]
    assert shared_ranks([]) == []


def test_ranks_ask_for_the_most_accurate_first() -> None:
    with pytest.raises(ValueError, match=r"most accurate first; received \[1.0, 2.0\] right"):
        shared_ranks(models(row("010"), row("011")))


def test_p_of_several_seeds_is_of_differences_over_images_and_over_seeds() -> None:
    # Means over two seeds of 4 images: 1, 1, 0.5, 0 against 0.5, 0.5, 0, 0; differences 0.5, 0.5, 0.5, 0: mean 0.375,
    # variance 0.0625, over 4 images 0.015625. Accuracies 0.75 and 0.5, 0.25 and 0.25: variances 0.03125 and 0, each
    # over 2. In all 0.03125; t = 0.375 / √0.03125 = 2.1213 with 0.03125² / (0.015625² / 3 + 0.015625² / 1) = 3 degrees.
    first = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool)
    second = np.array([[1, 0, 0, 0], [0, 1, 0, 0]], bool)
    assert p_of_difference(first, second) == pytest.approx(2 * stats.t.sf(2.12132, 3), rel=1e-4)
    assert p_of_difference(second, first) == pytest.approx(p_of_difference(first, second))
    assert p_of_difference(first[:1], second[:1]) == mcnemar(2, 0), "of one seed each, McNemar's"
    assert p_of_difference(first, first) == 1.0


def test_equal_ways_of_training_are_told_apart_in_at_most_a_twentieth_of_the_cases() -> None:
    random = np.random.default_rng(0)
    images, seeds, told = 400, 3, 0
    for _ in range(SIMULATIONS):
        # Images of different difficulty, and seeds that are better or worse by 2 points.
        difficulty = random.beta(2, 1, images)
        drawn = [np.clip(difficulty + random.normal(0, 0.02, (seeds, 1)), 0, 1) for _ in range(2)]
        first, second = (random.random((seeds, images)) < each for each in drawn)
        told += p_of_difference(first, second) <= 0.05
    assert 0.01 <= told / SIMULATIONS <= 0.05
