"""Do probabilities mean what they say, and which temperature makes them do so?"""

from typing import NamedTuple

import numpy as np

from lib.evaluation.intervals import BLOCK_CELLS, LEVEL, RESAMPLES, Interval, bootstrap, percentiles, sums_by, wilson

BINS = 15
TEMPERATURES = 0.05, 20.0
"""Fitted ones lie between these."""
CACHED = 2**16
"""Probabilities at a time: 512 KiB as float64, which stay in the cache."""
DECIMALS = 4
"""Of a temperature: machines that add in another order find the same."""


class Bin(NamedTuple):
    """A point of the reliability diagram: images of about the same confidence."""

    confidence: float
    """Mean probability of the predicted class."""
    accuracy: float
    rows: int
    interval: Interval
    """Wilson's, of the accuracy."""


def equal_mass_bins(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """The bin (N,) of each image, 0 to `bins` − 1 in the order of `confidence` (N,), with about as many images in each.

    Images of equal confidence share a bin, that of the middle of their ranks: nothing is split at random, and bins may
    stay empty, as they do where there are fewer images than bins.
    """
    from scipy import stats  # takes a second to import

    ranks: np.ndarray = stats.rankdata(confidence)  # from 1; equals share their mean
    return ((ranks - 0.5) * bins / len(confidence)).astype(np.int64)


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> list[Bin]:
    """The bins that have images, least confident first. `right` (N,) bool: the image is classified correctly."""
    index = equal_mass_bins(confidence, bins)
    rows, sums, hits = (np.bincount(index, values, bins) for values in (None, confidence, right))
    return [
        Bin(float(total / n), float(hit / n), int(n), wilson(int(hit), int(n)))
        for n, total, hit in zip(rows, sums, hits, strict=True)
        if n
    ]


def calibration_error(points: list[Bin]) -> float:
    """Expected calibration error: mean distance of confidence and accuracy in the bins, weighted by their images.

    It is biased upwards: a perfectly calibrated model has one above 0 too (`calibration_error_by_chance`).
    Sources: Naeini, Cooper & Hauskrecht (2015), AAAI; equal mass: Nguyen & O'Connor (2015), EMNLP.
    """
    return sum(each.rows * abs(each.accuracy - each.confidence) for each in points) / sum(each.rows for each in points)


def calibration_error_by_chance(
    confidence: np.ndarray, seed: int, bins: int = BINS, resamples: int = RESAMPLES
) -> float:
    """The calibration error that a perfectly calibrated model of this `confidence` (N,) exceeds by chance in 1 of 40.

    Each image is right with the probability that its confidence says. One above this is not calibrated.
    Source: consistency resampling, Bröcker & Smith (2007), Weather and Forecasting 22:651.
    """
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    rows, each = len(confidence), max(1, BLOCK_CELLS // len(confidence))
    by_bin = sums_by(equal_mass_bins(confidence, bins), bins)
    errors = []
    for start in range(0, resamples, each):
        right = random.random((min(each, resamples - start), rows)) < confidence
        errors.append(np.abs(by_bin(right - confidence)).sum(axis=1) / rows)
    return float(np.quantile(np.concatenate(errors), (1 + LEVEL) / 2))


def calibration_error_interval(
    confidence: np.ndarray, right: np.ndarray, seed: int, bins: int = BINS, resamples: int = RESAMPLES
) -> Interval:
    """Interval of the calibration error that bins like these would show on any number of images.

    Noise in a bin only ever adds to the error, and resampling adds it once more: of a calibrated model the percentile
    interval never holds the truth, which is 0. So this one goes down from the error by all that chance explains: true
    gaps and noise add up to no less than the error. Where the error is more than twice that, noise hardly adds to it,
    and it goes down by what the basic bootstrap interval goes (Davison & Hinkley (1997), Bootstrap Methods and their
    Application, section 5.2). It goes up by what resampled errors fall below their own mean. It holds the truth in
    about 0.95 of samples where the error is clear, and in more where it is not.
    """
    by_bin, gaps = sums_by(equal_mass_bins(confidence, bins), bins), (right - confidence) / len(confidence)

    def errors(weights: np.ndarray) -> np.ndarray:
        total: np.ndarray = np.abs(by_bin(weights * gaps)).sum(axis=1)
        return total

    ones = np.ones(len(gaps), np.int64)
    error, resampled = float(errors(ones[np.newaxis])[0]), bootstrap(ones, errors, seed, resamples)
    least, most = percentiles(resampled)
    by_chance = calibration_error_by_chance(confidence, seed, bins, resamples)
    low = 2 * error - most if error > 2 * by_chance else max(0.0, error - by_chance)
    return Interval(low, error + float(resampled.mean()) - least)


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature, between TEMPERATURES, at which the cross-entropy of `labels` (N,) is least.

    Logarithms of `probabilities` (N, classes) stand for logits, from which they differ by a constant a row. It is 1
    where all images are classified correctly, as then each lower temperature looks better still and none is the best,
    and where no temperature is better than 1. Source: Guo, Pleiss, Sun & Weinberger (2017), ICML.
    """
    from scipy import optimize  # as above

    if (probabilities.argmax(axis=1) == labels).all():
        return 1.0
    rows, logits = len(labels), np.empty(probabilities.shape, np.float32)
    for part, into in zip(_blocks(probabilities), _blocks(logits), strict=True):
        into[:] = _logits(part)
    true = float(logits[np.arange(rows), labels].mean(dtype=np.float64))

    def loss(log_temperature: float) -> float:
        inverse = float(np.exp(-log_temperature))
        powers = (np.exp(np.multiply(part, inverse, dtype=np.float64)) for part in _blocks(logits))
        return sum(float(np.log(each.sum(axis=1)).sum()) for each in powers) / rows - inverse * true

    bounds = tuple(np.log(TEMPERATURES))
    found = optimize.minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return round(float(np.exp(found.x)), DECIMALS) if found.fun < loss(0.0) else 1.0


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """`probabilities` (N, classes) at a temperature above 0: same shape and type, rows with sum 1, the order kept."""
    scaled = np.empty_like(probabilities)
    for part, into in zip(_blocks(probabilities), _blocks(scaled), strict=True):
        powers: np.ndarray = np.exp(np.divide(_logits(part), temperature, dtype=np.float64))
        into[:] = powers / powers.sum(axis=1, keepdims=True)
    return scaled


def _blocks(values: np.ndarray) -> list[np.ndarray]:
    """Views of a few rows each, so that what is computed of one stays in the cache."""
    each = max(1, CACHED // values.shape[1])
    return [values[start : start + each] for start in range(0, len(values), each)]


def _logits(probabilities: np.ndarray) -> np.ndarray:
    """Their logarithms in float32, the largest of a row at 0. Exact 0, where softmax had less, is the least float32."""
    logits: np.ndarray = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny), dtype=np.float32)
    logits -= logits.max(axis=1, keepdims=True)
    return logits
