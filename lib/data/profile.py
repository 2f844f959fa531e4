"""Statistics of a dataset's pixels, from one pass over uint8 images."""

import numpy as np
import pandas as pd

PASS_ROWS = 1_000


def rows_per_class(labels: np.ndarray, classes: int) -> list[int]:
    """Rows of each class, in the order of the labels."""
    return [int(n) for n in np.bincount(labels, minlength=classes)]


def channel_statistics(images: np.ndarray, rows: np.ndarray) -> dict[str, list[float]]:
    """Mean and standard deviation of each channel of images[rows], on the scale of 0 to 255."""
    counts = _value_counts(images, rows).reshape(-1, images.shape[-1], 256).sum(axis=0)  # (C, 256)
    mean, std = _mean_std(counts, ddof=0)
    return {"mean": mean.tolist(), "std": std.tolist()}


def pixel_table(images: np.ndarray, rows: np.ndarray) -> dict[str, list[float]]:
    """What `pandas.DataFrame.describe` says of images[rows] with one column a pixel, row by row of the table.

    Exact: a pixel has 256 values, so that counting them is enough for every quantile.
    """
    counts = _value_counts(images, rows)  # (P, 256)
    mean, std = _mean_std(counts, ddof=1)
    table = pd.DataFrame({"count": counts.sum(axis=1), "mean": mean, "std": std})
    for name, share in (("min", 0.0), ("25%", 0.25), ("50%", 0.5), ("75%", 0.75), ("max", 1.0)):
        table[name] = _quantile(counts, share)
    return {str(name): column.tolist() for name, column in table.items()}


def _value_counts(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(P, 256): how often each pixel of images[rows] has each value."""
    pixels = int(np.prod(images.shape[1:]))
    offsets = np.arange(pixels, dtype=np.int32) * 256
    counts = np.zeros(pixels * 256, np.int64)
    for start in range(0, len(rows), PASS_ROWS):
        part = images[rows[start : start + PASS_ROWS]].reshape(-1, pixels)
        counts += np.bincount((part + offsets).ravel(), minlength=len(counts))
    return counts.reshape(pixels, 256)


def _mean_std(counts: np.ndarray, ddof: int) -> tuple[np.ndarray, np.ndarray]:
    values = np.arange(256)
    total = counts.sum(axis=1)
    mean = counts @ values / total
    squares = (counts * (values - mean[:, np.newaxis]) ** 2).sum(axis=1)
    return mean, np.sqrt(squares / np.maximum(total - ddof, 1))


def _quantile(counts: np.ndarray, share: float) -> np.ndarray:
    """pandas' default: linear between the two nearest ranks."""
    cumulative = counts.cumsum(axis=1)
    place = share * (cumulative[:, -1] - 1)
    below, above = np.floor(place), np.ceil(place)
    low = (cumulative <= below[:, np.newaxis]).sum(axis=1)
    high = (cumulative <= above[:, np.newaxis]).sum(axis=1)
    quantile: np.ndarray = low + (high - low) * (place - below)
    return quantile
