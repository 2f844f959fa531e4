"""Statistics of a dataset's pixels, from one pass over uint8 images."""

from collections.abc import Iterable
from math import prod

import numpy as np
import pandas as pd

PASS_ROWS, PASS_PIXELS = 1_000, 128
"""Counted at once: their values and counts fit into a core's own cache."""
TABLE_PIXELS = 4_096
"""Described at once, in some tens of megabytes."""


def rows_per_class(labels: np.ndarray, classes: int) -> list[int]:
    """Rows of each class, in the order of the labels."""
    return [int(n) for n in np.bincount(labels, minlength=classes)]


def count_values(blocks: Iterable[np.ndarray], image_shape: tuple[int, int, int]) -> np.ndarray:
    """(H, W, C, 256) int32: how often each pixel of the images in `blocks`, each (n, H, W, C) uint8, has each value."""
    pixels = prod(image_shape)
    counts = np.zeros((pixels, 256), np.int32)
    offsets = np.arange(PASS_PIXELS) * 256
    for block in blocks:
        for start in range(0, len(block), PASS_ROWS):
            rows = block[start : start + PASS_ROWS].reshape(-1, pixels)
            for first in range(0, pixels, PASS_PIXELS):
                values = rows[:, first : first + PASS_PIXELS]
                counted = counts[first : first + PASS_PIXELS]
                found = np.bincount((values + offsets[: len(counted)]).ravel(), minlength=counted.size)
                counted += found.reshape(counted.shape)
    return counts.reshape(*image_shape, 256)


def channel_statistics(counts: np.ndarray) -> dict[str, list[float]]:
    """Mean and standard deviation of each channel, on the scale of 0 to 255, of what `count_values` has counted."""
    mean, std = _mean_std(counts.sum(axis=(0, 1)), ddof=0)  # (C, 256)
    return {"mean": mean.tolist(), "std": std.tolist()}


def pixel_table(counts: np.ndarray) -> dict[str, list[float]]:
    """What `pandas.DataFrame.describe` says of images with one column a pixel, row by row of the table.

    Exact: a pixel has 256 values, so that counting them (`count_values`) is enough for every quantile.
    """
    pixels = counts.reshape(-1, 256)
    parts = [_table(pixels[first : first + TABLE_PIXELS]) for first in range(0, len(pixels), TABLE_PIXELS)]
    return {str(name): column.tolist() for name, column in pd.concat(parts).items()}


def _table(counts: np.ndarray) -> pd.DataFrame:
    mean, std = _mean_std(counts, ddof=1)
    table = pd.DataFrame({"count": counts.sum(axis=1), "mean": mean, "std": std})
    for name, share in (("min", 0.0), ("25%", 0.25), ("50%", 0.5), ("75%", 0.75), ("max", 1.0)):
        table[name] = _quantile(counts, share)
    return table


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
