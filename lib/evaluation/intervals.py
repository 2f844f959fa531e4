"""How far a figure of a model may lie from the truth: intervals over images, and over seeds."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

LEVEL = 0.95
"""Of an interval: the share of samples in which it holds the true value."""
RESAMPLES = 1_000
BLOCK_CELLS = 2**19
"""Weights at a time: 4 MiB as float64, which caches hold, whatever the number of images."""

Statistic = Callable[[np.ndarray], np.ndarray]
"""Of weights (resamples, groups), how often each group of equal images was drawn, to values (resamples, …)."""


class Interval(NamedTuple):
    """From `low` to `high`, both included."""

    low: float
    high: float


class Seeds(NamedTuple):
    """One figure of models that differ in nothing but their seed."""

    mean: float
    deviation: float | None
    """Of the sample (n − 1 in the denominator); None of one seed."""
    n: int
    interval: Interval | None
    """Of the mean over all seeds; None of one seed."""


def wilson(right: int, rows: int) -> Interval:
    """Wilson's score interval of the share `right` / `rows`, such as accuracy or top-5 accuracy.

    Unlike a bootstrap it also says something where all rows are right: at 20 of 20 it begins at 0.84. `rows` must be 1
    or more. Source: Wilson (1927), JASA 22:209.
    """
    from scipy import stats  # takes a second to import: reports only need the classes above

    return Interval(*map(float, stats.binomtest(int(right), int(rows)).proportion_ci(LEVEL, "wilson")))


def bootstrap(counts: np.ndarray, statistic: Statistic, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """`statistic` of each resample of as many images as there are, drawn with replacement: (resamples, …).

    `counts` (groups,) says how many images are alike in all that `statistic` reads: ones where each image stands for
    itself, the cells of a confusion matrix for what follows from that. How often each group is drawn has a multinomial
    distribution, so that resampling cells is resampling images. Weights are made in blocks: memory does not grow with
    the number of resamples. The same counts, seed and NumPy give the same weights.
    """
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    rows, each = int(counts.sum()), max(1, BLOCK_CELLS // len(counts))
    alone = bool((counts == 1).all())  # then drawing the images themselves is ten times as fast
    blocks = []
    for start in range(0, resamples, each):
        size = min(each, resamples - start)
        if alone:
            drawn = random.integers(rows, size=(size, rows)) + np.arange(0, size * rows, rows)[:, np.newaxis]
            weights = np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows)
        else:
            weights = random.multinomial(rows, counts / rows, size=size)
        blocks.append(statistic(weights.astype(np.float64)))
    return np.concatenate(blocks)


def percentiles(resampled: np.ndarray) -> Interval:
    """The percentile interval of what `bootstrap` gave of one statistic (resamples,).

    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13. Where all images are alike, it is a
    single point and says nothing: there, look at Wilson's interval of the accuracy.
    """
    return Interval(*map(float, np.quantile(resampled, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))))


def mean_intervals(values: np.ndarray, seed: int, resamples: int = RESAMPLES) -> list[Interval]:
    """Bootstrap intervals of the mean of each column of `values` (N, columns), such as the loss of each image."""

    def means(weights: np.ndarray) -> np.ndarray:
        sums: np.ndarray = np.einsum("rn,nc->rc", weights, values)  # by BLAS its threads would spin between the blocks
        return sums / len(values)

    return [percentiles(column) for column in bootstrap(np.ones(len(values), np.int64), means, seed, resamples).T]


def macro_f1_interval(confusion: np.ndarray, seed: int, resamples: int = RESAMPLES) -> Interval:
    """Bootstrap interval of macro F1, as `measure` defines it, from a matrix [true class][predicted class] → images."""
    true, predicted = np.nonzero(confusion)
    statistic = macro_f1_of_cells(true, predicted, len(confusion))
    return percentiles(bootstrap(confusion[true, predicted], statistic, seed, resamples))


def macro_f1_of_cells(true: np.ndarray, predicted: np.ndarray, classes: int) -> Statistic:
    """Macro F1 by weights of the cells (`true`, `predicted`): the mean over the classes that a resample has rows of."""
    by_true, by_predicted, right = sums_by(true, classes), sums_by(predicted, classes), true == predicted

    def macro_f1(weights: np.ndarray) -> np.ndarray:
        rows = by_true(weights)
        f1 = 2 * by_true(weights * right) / np.maximum(rows + by_predicted(weights), 1)
        mean: np.ndarray = f1.sum(axis=1) / (rows > 0).sum(axis=1)  # a class without rows has no hits
        return mean

    return macro_f1


def sums_by(keys: np.ndarray, groups: int) -> Statistic:
    """Sums of columns of equal key: values (rows, columns) to (rows, `groups`); `keys` (columns,) are integers."""
    order = np.argsort(keys, kind="stable")
    present, starts = np.unique(keys[order], return_index=True)

    def sums(values: np.ndarray) -> np.ndarray:
        result = np.zeros((len(values), groups))
        result[:, present] = np.add.reduceat(values[:, order], starts, axis=1)
        return result

    return sums


def over_seeds(values: Sequence[float]) -> Seeds:
    """Mean, deviation and Student's t interval of one figure (N,) over N seeds.

    The interval is of the training's randomness alone: the same images are behind each value. It supposes that the
    values are about normal, and may reach beyond what the figure can be, such as an accuracy above 1.
    """
    from scipy import stats  # as above

    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return Seeds(mean, None, n, None)
    deviation = float(np.std(values, ddof=1))
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * deviation / n**0.5
    return Seeds(mean, deviation, n, Interval(mean - half, mean + half))


def accuracy_over_seeds(right: np.ndarray) -> Seeds:
    """Of models that differ in nothing but their seed: `right` (seeds, N) bool says which of the same images each has.

    The interval is of what any number of seeds would reach on any number of such images. Its variance is that over
    images of each one's mean over seeds, plus that of the accuracies over seeds; degrees of freedom are Welch's. Both
    hold the chance of single answers, so that it errs on the wide side. Where all seeds agree on all images it is
    Wilson's. It stays within 0 and 1.
    """
    n, rows = right.shape
    accuracies = [float(each) for each in right.mean(axis=1)]
    seeds = over_seeds(accuracies)
    if n == 1:
        return seeds
    if (right == right[0]).all():
        return seeds._replace(interval=wilson(int(right[0].sum()), rows))
    from scipy import stats  # as above

    by_image, by_seed = float(right.mean(axis=0).var(ddof=1)) / rows, float(np.var(accuracies, ddof=1)) / n
    freedom = (by_image + by_seed) ** 2 / (by_image**2 / (rows - 1) + by_seed**2 / (n - 1))
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * (by_image + by_seed) ** 0.5
    return seeds._replace(interval=Interval(max(0.0, seeds.mean - half), min(1.0, seeds.mean + half)))
