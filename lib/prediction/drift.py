"""Are images like those that a model was validated on? Compared by figures of their pixels and by what it predicts.

Nothing here needs labels. Thresholds are of two kinds, and an alarm takes both: a difference that chance does not
explain, and one that is large. Of many images the first is met by differences that no model would notice.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from lib.errors import shortened

FIGURES = {
    "brightness": "brightness",
    "contrast": "contrast",
    "gradient_energy": "gradient energy",
    "red_green": "red–green",
    "yellow_blue": "yellow–blue",
    "share_light": "share of values ≥ 0.99",
    "share_dark": "share of values ≤ 0.01",
}
"""Name → what people call it."""
LEVEL = 0.01
"""How often images that are like validation's may raise the alarm by chance: by figures, and by classes."""
LEAST_DISTANCE = 0.1
"""Of two distributions: Kolmogorov–Smirnov's, or the total variation of predicted classes."""
RARE = 0.5
"""A class is missing where it is predicted less than so often as on validation, beyond chance."""
LEAST_IMAGES = 200
BLOCK_ROWS = 1_000
SHOWN = 3
Verdict = Literal["drift", "no drift", "too few to tell"]


class Reference(NamedTuple):
    """What a model was validated on, and what it said of it."""

    figures: np.ndarray  # (N, len(FIGURES)) float32
    predicted: np.ndarray  # (classes,) how often each class was predicted
    confidence: float
    """Mean calibrated confidence."""
    accuracy: float


class Compared(BaseModel):
    """One figure of images beside the same of validation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    validation_mean: float
    distance: float
    """Kolmogorov–Smirnov's: the largest difference of the two distribution functions."""
    p: float
    alarm: bool


class Classes(BaseModel):
    """How often each class was predicted, beside validation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    total_variation: float
    p: float
    """Of the chi-square test that both have the same shares."""
    alarm: bool
    missing: list[str]
    """Classes that are predicted so seldom that they alone raise the alarm."""


class Drift(BaseModel):
    """How far images are from those of validation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Verdict
    images: int
    said: list[str]
    """The verdict and its reasons, as sentences."""
    figures: dict[str, Compared]
    classes: Classes | None
    """None, and no figures, where there are too few images."""
    expected_accuracy: float | None
    """Mean calibrated confidence: the share that is right, as long as the model is calibrated on such images."""
    validation_confidence: float
    validation_accuracy: float


def figures(images: np.ndarray) -> np.ndarray:
    """FIGURES of each of `images` (N, H, W, C) uint8, C 1 or 3: (N, len(FIGURES)) float32; values count from 0 to 1.

    Contrast is the deviation of grey values, gradient energy the mean square of differences between neighbours, and
    colours the means of R - G and of (R + G) / 2 - B: 0 for images without colour. Memory is that of a few images.
    """
    found = np.empty((len(images), len(FIGURES)), np.float32)
    for start in range(0, len(images), BLOCK_ROWS):
        found[start : start + BLOCK_ROWS] = _figures(images[start : start + BLOCK_ROWS])
    return found


def _figures(images: np.ndarray) -> np.ndarray:
    values = images.astype(np.float32) / 255
    grey, means = values.mean(axis=3), values.mean(axis=(1, 2))
    squares = [np.square(np.diff(grey, axis=axis)).mean(axis=(1, 2)) if grey.shape[axis] > 1 else 0 for axis in (1, 2)]
    red, green, blue = means.T if images.shape[3] == 3 else np.zeros((3, len(images)), np.float32)
    columns = (
        means.mean(axis=1),
        grey.std(axis=(1, 2)),
        squares[0] + squares[1],
        red - green,
        (red + green) / 2 - blue,
        (values >= 0.99).mean(axis=(1, 2, 3)),
        (values <= 0.01).mean(axis=(1, 2, 3)),
    )
    return np.stack([np.broadcast_to(each, len(images)) for each in columns], axis=1)


def compare(
    reference: Reference, found: np.ndarray, predicted: np.ndarray, confidence: float, class_names: Sequence[str]
) -> Drift:
    """Images by their figures `found` (n, len(FIGURES)), by how often each class was `predicted` (classes,), and by
    their mean calibrated `confidence`, beside validation. `found` may be a sample of them.
    """
    images = int(predicted.sum())
    beside = {"validation_confidence": reference.confidence, "validation_accuracy": reference.accuracy}
    if images < LEAST_IMAGES:
        said = f"Too few images to tell whether they are like validation: {images:,}; it takes {LEAST_IMAGES}."
        expected = confidence if images else None
        return Drift(
            verdict="too few to tell",
            images=images,
            said=[said, *_expected(expected, reference)],
            figures={},
            classes=None,
            expected_accuracy=expected,
            **beside,
        )
    by_figure = {name: _compared(reference.figures[:, at], found[:, at]) for at, name in enumerate(FIGURES)}
    classes = _classes(reference.predicted, predicted, class_names)
    alarm = classes.alarm or any(each.alarm for each in by_figure.values())
    return Drift(
        verdict="drift" if alarm else "no drift",
        images=images,
        said=[*_reasons(images, by_figure, classes), *_expected(confidence, reference)],
        figures=by_figure,
        classes=classes,
        expected_accuracy=confidence,
        **beside,
    )


def _compared(reference: np.ndarray, found: np.ndarray) -> Compared:
    from scipy import stats  # takes a second to import

    test = stats.ks_2samp(reference, found, method="asymp")
    distance, p = float(test.statistic), float(test.pvalue)
    return Compared(
        mean=float(found.mean()),
        validation_mean=float(reference.mean()),
        distance=distance,
        p=p,
        alarm=p < LEVEL / len(FIGURES) and distance >= LEAST_DISTANCE,
    )


def _classes(reference: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> Classes:
    """Chi-square over all classes, and of each class whether it is missing.

    The total variation of many classes is large by chance, and a class that is one of many hardly counts in it. So a
    class that is missing is looked for by itself, with the exact test of Fisher (hypergeometric), by Bonferroni.
    """
    from scipy import stats

    seen = (reference + predicted) > 0
    counts = np.stack([reference[seen], predicted[seen]])
    p = float(stats.chi2_contingency(counts, correction=False).pvalue) if seen.sum() > 1 else 1.0
    shares = counts / counts.sum(axis=1, keepdims=True)
    variation = float(np.abs(shares[0] - shares[1]).sum() / 2)
    both, rows = counts.sum(axis=0), counts.sum(axis=1)
    tails = stats.hypergeom.cdf(counts[1], rows.sum(), both, rows[1])
    rare = (tails < LEVEL / len(reference)) & (shares[1] < RARE * shares[0])
    missing = [class_names[label] for label in np.flatnonzero(seen)[rare]]
    alarm = bool(missing) or (p < LEVEL and variation >= LEAST_DISTANCE)
    return Classes(total_variation=variation, p=p, alarm=alarm, missing=missing)


def _reasons(images: int, by_figure: dict[str, Compared], classes: Classes) -> list[str]:
    reasons = [
        f"{FIGURES[name].capitalize()} differs from validation: mean {each.mean:.3g} against "
        f"{each.validation_mean:.3g}, Kolmogorov–Smirnov distance {each.distance:.2f} (p {_p(each.p)})."
        for name, each in by_figure.items()
        if each.alarm
    ]
    if classes.missing:
        more = f" and {len(classes.missing) - SHOWN} more" if len(classes.missing) > SHOWN else ""
        names = ", ".join(map(shortened, classes.missing[:SHOWN]))
        reasons.append(f"Predicted less than half as often as on validation, beyond chance: {names}{more}.")
    if classes.p < LEVEL and classes.total_variation >= LEAST_DISTANCE:
        reasons.append(
            f"Predicted classes differ from validation: total variation {classes.total_variation:.2f} "
            f"(chi-square p {_p(classes.p)})."
        )
    if reasons:
        return [f"These {images:,} images are not like those of validation.", *reasons]
    most = max(each.distance for each in by_figure.values())
    return [
        f"These {images:,} images are like those of validation: the largest Kolmogorov–Smirnov distance of "
        f"{len(FIGURES)} figures is {most:.2f}, the total variation of predicted classes {classes.total_variation:.2f} "
        f"(chi-square p {_p(classes.p)})."
    ]


def _expected(confidence: float | None, reference: Reference) -> list[str]:
    if confidence is None:
        return []
    return [
        f"Expected accuracy, from calibrated confidence: {confidence:.1%}; on validation the same said "
        f"{reference.confidence:.1%}, and {reference.accuracy:.1%} were right."
    ]


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "below 0.001"
