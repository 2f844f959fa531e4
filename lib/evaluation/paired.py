"""Two models on the same images: can they be told apart, by how much, and how many images would it take?

All follows from the discordant images: `gained`, which only the first model has right, and `lost`, which only the
second has right.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, sqrt
from typing import Literal, NamedTuple

import numpy as np

LEVEL = 0.05
"""Of a test: how often it may find a difference where there is none."""


class Discordant(NamedTuple):
    """Of one model against another on the same images."""

    gained: int
    """Images that only the first has right."""
    lost: int
    """Images that only the second has right."""
    rows: int


def discordant(first: np.ndarray, second: np.ndarray) -> Discordant:
    """Where two models differ: `first` and `second` (N,) bool say which of the same images each has right."""
    return Discordant(int(np.sum(first & ~second)), int(np.sum(~first & second)), len(first))


def mcnemar(gained: int, lost: int, alternative: Literal["two-sided", "greater"] = "two-sided") -> float:
    """p of McNemar's exact test that both models are right equally often; 1 where no image is discordant.

    `greater` asks whether the first is right more often. Under the hypothesis each discordant image is gained with
    probability 1/2, so p is a binomial tail: no approximation, at any number of images. Exact and not mid-p: mid-p has
    more power (Fagerland, Lydersen & Laake 2013, BMC Med Res Methodol 13:91), but may exceed its level, and whoever
    signs a promotion promises that at most that share of them is chance. The exact test never exceeds it; it pays for
    that with caution, and with fewer than 6 discordant images it finds nothing at 0.05, two-sided.
    Source: McNemar (1947), Psychometrika 12:153.
    """
    from scipy import special  # a third of what scipy.stats takes to import, whose binomtest says the same

    if alternative == "greater":
        return float(special.bdtrc(gained - 1, gained + lost, 0.5)) if gained else 1.0
    return min(1.0, 2 * float(special.bdtr(min(gained, lost), gained + lost, 0.5)))


def lowest_difference(gained: int, lost: int, rows: int, level: float = LEVEL) -> float:
    """The lower one-sided bound, at confidence 1 − `level`, of accuracy of the first minus accuracy of the second.

    Tango's score bound: the difference at which the score test, with the discordant shares that are likeliest under it,
    has p = `level`. Where no image is discordant it still lies below 0, by z² / (`rows` + z²); Wald's bound would be 0.
    Source: Tango (1998), Statistics in Medicine 17:891; compared with others by
    Fagerland, Lydersen & Laake (2014), Statistics in Medicine 33:2850.
    """
    from scipy import optimize, stats  # as above

    if lost == rows:
        return -1.0
    z = float(stats.norm.isf(level))

    def excess(difference: float) -> float:
        """The score, times its deviation, above z: falls as `difference` grows."""
        linear = (2 * rows - gained + lost) * difference - gained - lost
        product = -lost * difference * (1 - difference)
        lost_share = (sqrt(linear**2 - 8 * rows * product) - linear) / (4 * rows)  # its maximum likelihood estimate
        variance = rows * (2 * lost_share + difference * (1 - difference))
        return gained - lost - rows * difference - z * sqrt(max(variance, 0.0))

    below = (gained - lost) / rows - 1e-9  # at the difference itself the score is 0, also where its deviation is
    return float(optimize.brentq(excess, -1.0, below, xtol=1e-12))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p, in the order given: those at most α may be rejected together, any error among them at most α often.

    Source: Holm (1979), Scandinavian Journal of Statistics 6:65.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return [float(each) for each in adjusted]


def rows_needed(
    difference: float, discordance: float, *, level: float = LEVEL, sides: Literal[1, 2] = 2, power: float = 0.8
) -> int | None:
    """Images that McNemar's exact test would take to find a true `difference` of accuracies with probability `power`.

    `discordance` is the share of images that exactly one of the models has right: from |`difference`| to 1, or
    ValueError. None where the difference is 0: no number would do. The formula is that for the test without continuity
    correction (Connor (1987), Biometrics 43:207), then n/4 · (1 + √(1 + 4 / (n |difference|)))² because the exact test
    is discrete (the correction of Fleiss, Levin & Paik (2003), Statistical Methods for Rates and Proportions, chapter
    2, for one proportion: here the gained share of the discordant images). It asks for a third too many or so where all
    discordant images are gained.
    """
    from scipy import stats  # as above

    apart = abs(difference)
    if not apart <= discordance <= 1:
        raise ValueError(f"the discordant share must be from the difference to 1; received {discordance}, {difference}")
    if apart == 0:
        return None
    chance, found = float(stats.norm.isf(level / sides)), float(stats.norm.ppf(power))
    rows = ((chance * sqrt(discordance) + found * sqrt(discordance - apart**2)) / apart) ** 2
    return ceil(rows / 4 * (1 + sqrt(1 + 4 / (rows * apart))) ** 2)


def p_of_difference(first: np.ndarray, second: np.ndarray) -> float:
    """p, two-sided, that two models are right equally often: `first` and `second` are (seeds, N) bool.

    Of one seed each, McNemar's exact test: it is about these two models. Of more, a t test of the mean difference over
    images and seeds: its variance is that of the paired differences over images, each a mean over seeds, plus that of
    each model's accuracy over its seeds, as far as it has several; its degrees of freedom are Welch's. It is about the
    two ways of training, and says what chance of images and of training allows. Seeds are in both variances, so that
    it errs on the careful side.
    """
    if len(first) == len(second) == 1:
        return mcnemar(*discordant(first[0], second[0])[:2])
    from scipy import stats  # as above

    apart, deviation, freedom = _welch(first, second)
    if deviation == 0:
        return 1.0 if apart == 0 else 0.0
    return float(2 * stats.t.sf(abs(apart) / deviation, freedom))


def interval_of_difference(first: np.ndarray, second: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The two-sided interval, at confidence 1 − `level`, of the accuracy of the first minus that of the second.

    Both are (seeds, N) bool. Of one seed each it is Tango's, of more that of the t test of `p_of_difference`.
    """
    if len(first) == len(second) == 1:
        gained, lost, rows = discordant(first[0], second[0])
        lowest = lowest_difference(gained, lost, rows, level / 2)
        return lowest, -lowest_difference(lost, gained, rows, level / 2)
    from scipy import stats  # as above

    apart, deviation, freedom = _welch(first, second)
    half = deviation * float(stats.t.isf(level / 2, freedom)) if deviation else 0.0
    return max(-1.0, apart - half), min(1.0, apart + half)


def _welch(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """The mean difference of `p_of_difference`, its deviation, and its degrees of freedom (0 where nothing varies)."""
    apart = first.mean(axis=0) - second.mean(axis=0)
    over_images = float(apart.var(ddof=1)) / len(apart)
    several = [each.mean(axis=1) for each in (first, second) if len(each) > 1]
    over_seeds = [float(each.var(ddof=1)) / len(each) for each in several]
    variance = over_images + sum(over_seeds)
    if variance == 0:
        return float(apart.mean()), 0.0, 0.0
    lost = sum(each**2 / (len(of) - 1) for each, of in zip(over_seeds, several, strict=True))
    return float(apart.mean()), sqrt(variance), variance**2 / (lost + over_images**2 / (len(apart) - 1))


def shared_ranks(right: Sequence[np.ndarray], level: float = LEVEL) -> list[int]:
    """Ranks, from 1, of models by accuracy, where chance may have decided the order.

    `right` has for each model (seeds, N) bool, which of the same images each of its seeds has right; highest mean first
    (ValueError otherwise), equals in the order that the leaderboard gives them. The first model leads the first group,
    at rank 1. Each next model takes the rank of its group's leader unless the two-sided test against that leader
    (`p_of_difference`) has p ≤ `level`: then it leads a group of its own, at the rank of its place in the list. So
    ranks go 1, 1, 1, 4.

    What it claims: none of a group could be told from its leader, and each leader could be told from the leader before.
    What it does not: that those of a group are equal, only that these images do not show a difference; that a model of
    one group could be told from every model of another; that `level` bounds all these tests together. The leader is the
    most accurate of several on these very images, which favours it: among many equal models it may be told from some.
    """
    shares = [float(each.sum()) / len(each) for each in right]
    if any(next_ > each + 1e-6 for each, next_ in pairwise(shares)):
        raise ValueError(f"models must come most accurate first; received {shares} right")
    ranks: list[int] = []
    leader = 0
    for place, model in enumerate(right):
        leader = place if p_of_difference(right[leader], model) <= level else leader
        ranks.append(leader + 1)
    return ranks
