"""Near duplicates in a dataset: pictures that two rows show, of one split or of several.

Candidates are close neighbours by features, judged by how close their other neighbours are: two skies are as close as
two photographs of one car, but a sky has many neighbours as close as that. Pixels then confirm a candidate.

In small greyscale images too many things look alike: two trousers, or two digits of one hand. Of these, the pixels
must be nearly the same (`least_correlation`): 224 pairs of the 1,797 digits of 8 px are confirmed with 0.75, and 4 with
0.99.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.data.grouped import GroupedRows
from lib.evaluation.shifted_correlation import shifted_correlation
from lib.temporary import temporary_folder
from lib.training.stored_features import predicting_features

BLOCK_ROWS = 1_000
NEIGHBOURS = 10
THUMBNAIL_PX, POOLED_PX = 32, 8
FARTHEST, FARTHEST_OF_PIXELS = 0.5, 0.4
"""Distance of candidates by features, and by pooled pixels.

All thresholds were chosen on the test images of CIFAR-100 with even numbers, by people's list of twins in train
(ciFAIR, Barz & Denzler 2020, arXiv:1902.00423), for a precision of 0.91. `tests.benchmarks.near_duplicates` says of
those with odd numbers: by MobileNet's features 0.65 of the listed images are found, and 0.91 of those found are listed;
by pixels 0.48 and 0.89.
"""
LEAST_CORRELATION, FARTHEST_CORRELATION = 0.75, 0.55
"""Of pixels of a pair: its correlation, and 1 less that over the same of both with their farthest neighbours."""
LEAST_CORRELATION_OF_GREY = 0.99
"""The same of images without colours."""
SMALLEST_RADIUS = 0.01
"""Where a picture has more copies than NEIGHBOURS, its neighbourhood has no radius."""


Tell = Callable[[int, int], None]
"""Told how many comparisons of rows are done, and of how many."""


class Pair(NamedTuple):
    """Two rows that show the same picture."""

    split: str
    row: int
    other_split: str
    other_row: int
    distance: float
    """Of their features, where 1 is the distance of the farthest of NEIGHBOURS; 0: the same."""
    similarity: float
    """`shifted_correlation` of their pixels, from `least_correlation` to 1."""


def least_correlation(channels: int) -> float:
    """Of the pixels of a pair of images with so many channels."""
    return LEAST_CORRELATION_OF_GREY if channels == 1 else LEAST_CORRELATION


def find_near_duplicates(
    images: Mapping[str, GroupedRows],
    features: Mapping[str, GroupedRows] | None = None,
    alone: int = 0,
    tell: Tell = lambda done, of: None,
) -> list[Pair]:
    """The pairs within the splits of `images` (N, H, W, C) uint8 and between them, the closest first.

    `features` (N, views, D) are those of a frozen backbone, of the same splits and rows; without them pixels of small
    images are compared, which finds fewer. A row is paired with at most NEIGHBOURS others that lie nearest to it. A
    pair is said once, the split that `images` names first in front; rows count from 0 in their split. The rows of the
    first `alone` splits are not compared with one another, but the others with all: the distance of a pair is then that
    of the neighbours of its second row alone.

    The same machine gives the same pairs. Temporary files hold 3 kB and 2 bytes a feature of each row, so memory does
    not grow with the dataset, some 400 bytes a row apart; time grows with the number of comparisons.
    """
    starts, names = np.cumsum([0, *(len(each) for each in images.values())]), list(images)
    rows, first = int(starts[-1]), int(starts[alone])
    channels = next(iter(images.values())).row_shape[-1]
    with temporary_folder() as folder:
        thumbnails = _thumbnails(images, rows, folder / "thumbnails")
        vectors = _pooled(thumbnails, folder) if features is None else _unit(features, rows, folder)
        others, cosines = nearest(vectors, min(NEIGHBOURS, rows - 1), first, tell)
        farthest = FARTHEST_OF_PIXELS if features is None else FARTHEST
        left, right, distances = _candidates(others, cosines, first, farthest)
        correlations, confirmed = _confirm(thumbnails, left, right, others[:, -1], least_correlation(channels))

    def place(row: int) -> tuple[str, int]:
        split = int(np.searchsorted(starts, row, "right")) - 1
        return names[split], int(row - starts[split])

    return [
        Pair(*place(left[each]), *place(right[each]), float(distances[each]), float(correlations[each]))
        for each in np.flatnonzero(confirmed)
    ]


def _confirm(
    thumbnails: np.ndarray, left: np.ndarray, right: np.ndarray, farthest: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Of each pair its correlation, and whether it shows one picture: all trousers correlate, but with one another.

    `farthest` is, of each of the last rows, the farthest of its neighbours.
    """
    correlations = _correlations(thumbnails, left, right)
    first = len(thumbnails) - len(farthest)
    beside = [
        1 - _correlations(thumbnails, each, farthest[each - first])
        for each in (_where_known(left, right, first), right)
    ]
    radius = np.sqrt(np.prod(np.maximum(beside, SMALLEST_RADIUS), axis=0))
    return correlations, (correlations >= least) & (1 - correlations <= FARTHEST_CORRELATION * radius)


def _where_known(rows: np.ndarray, instead: np.ndarray, first: int) -> np.ndarray:
    """`rows`, those before `first`, whose neighbours were not looked for, replaced."""
    known: np.ndarray = np.where(rows >= first, rows, instead)
    return known


def _correlations(thumbnails: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(n,): of rows `left[k]` and `right[k]`."""
    pieces = [slice(first, first + BLOCK_ROWS) for first in range(0, len(left), BLOCK_ROWS)]
    found = [shifted_correlation(thumbnails[left[piece]], thumbnails[right[piece]]) for piece in pieces]
    return np.concatenate([np.empty(0), *found])


def nearest(
    vectors: np.ndarray, count: int, start: int = 0, tell: Tell = lambda done, of: None
) -> tuple[np.ndarray, np.ndarray]:
    """Of each row from `start` on, the `count` other rows (n, count) int32 with the highest cosine, and these,
    descending, float32.

    `vectors` (N, D) have length 1, and may lie in a file: BLOCK_ROWS of them are read at a time.
    """
    rows, looked_for = len(vectors), len(vectors) - start
    others, cosines = np.full((looked_for, count), -1, np.int32), np.full((looked_for, count), -np.inf, np.float32)

    def keep(first: int, second: int, products: np.ndarray) -> None:
        better = np.flatnonzero(products.max(axis=1) > cosines[first - start : first - start + len(products), -1])
        at, columns = first - start + better, np.arange(second, second + products.shape[1], dtype=np.int32)
        values = np.concatenate([cosines[at], products[better]], axis=1)
        places = np.argpartition(-values, count - 1, axis=1)[:, :count]
        places = np.take_along_axis(places, np.argsort(-np.take_along_axis(values, places, 1), axis=1), 1)
        cosines[at] = np.take_along_axis(values, places, 1)
        known = np.take_along_axis(others[at], np.minimum(places, count - 1), 1)
        others[at] = np.where(places < count, known, columns[np.maximum(places - count, 0)])

    done, total = 0, looked_for * start + looked_for * (looked_for + 1) // 2
    for first in range(start, rows, BLOCK_ROWS):
        block = vectors[first : first + BLOCK_ROWS].astype(np.float32)
        for second in [*range(0, start, BLOCK_ROWS), *range(first, rows, BLOCK_ROWS)]:
            end = min(second + BLOCK_ROWS, start if second < start else rows)
            products = block @ vectors[second:end].astype(np.float32).T
            if second == first:
                np.fill_diagonal(products, -np.inf)
            elif second > first:
                keep(second, first, products.T)
            keep(first, second, products)
        done += len(block) * (start + rows - first) - len(block) * (len(block) - 1) // 2
        tell(done, total)
    return others, cosines


def _candidates(
    others: np.ndarray, cosines: np.ndarray, first: int, farthest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (n,), higher rows (n,) and distances (n,), each pair once, ascending by distance and rows.

    `others` and `cosines` are those of the rows from `first` on. The distance of a pair is relative to the radii of
    both, or of the one that is known.
    """
    distances = 1 - cosines.astype(np.float64)
    radii = np.maximum(distances[:, -1], SMALLEST_RADIUS)
    own = np.arange(len(others))[:, np.newaxis] + first
    relative = distances / np.sqrt(radii[own - first] * radii[_where_known(others, own, first) - first])
    row, place = np.nonzero(relative <= farthest)
    other, value = others[row, place], relative[row, place].clip(0)
    row = row + first
    pairs, kept = np.unique(np.stack([np.minimum(row, other), np.maximum(row, other)]), axis=1, return_index=True)
    order = np.argsort(value[kept], kind="stable")
    return pairs[0, order], pairs[1, order], value[kept][order]


def _thumbnails(images: Mapping[str, GroupedRows], rows: int, path: Path) -> np.ndarray:
    """(rows, h, w, C) uint8 in a file: the images one after another, pooled to THUMBNAIL_PX at most."""
    blocks = (block for split in images.values() for block in split.blocks(BLOCK_ROWS))
    return _stored(path, rows, np.uint8, (pool(block, THUMBNAIL_PX) for block in blocks))


def _unit(features: Mapping[str, GroupedRows], rows: int, folder: Path) -> np.ndarray:
    """(rows, D) float16 in a file: the features, averaged over views and divided by their length.

    They are not standardised. MobileNet's, whose values are all positive, lose by it.
    """
    blocks = (predicting_features(block) for split in features.values() for block in split.blocks(BLOCK_ROWS))
    return _stored(folder / "vectors", rows, np.float16, (_of_length_1(block) for block in blocks))


def _pooled(thumbnails: np.ndarray, folder: Path) -> np.ndarray:
    """(rows, D) float16 in a file: the means of POOLED_PX × POOLED_PX parts, less that of all, divided by length."""
    firsts = range(0, len(thumbnails), BLOCK_ROWS)
    blocks = (pool(thumbnails[first : first + BLOCK_ROWS], POOLED_PX) for first in firsts)
    flat = (block.reshape(len(block), -1) for block in blocks)
    centred = (_of_length_1(block - block.mean(axis=1, keepdims=True)) for block in flat)
    return _stored(folder / "vectors", len(thumbnails), np.float16, centred)


def _of_length_1(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: np.ndarray = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


def pool(images: np.ndarray, largest_px: int) -> np.ndarray:
    """Images (n, H, W, C) → means (n, h, w, C) float32 of equal rectangles of pixels, with h, w ≤ `largest_px`.

    Pixels that are left over at the bottom and on the right do not count.
    """
    rows, height, width, channels = images.shape
    down, across = -(-height // largest_px), -(-width // largest_px)
    whole = images[:, : height // down * down, : width // across * across]
    means: np.ndarray = whole.reshape(rows, height // down, down, width // across, across, channels).mean(
        axis=(2, 4), dtype=np.float32
    )
    return means


def _stored(path: Path, rows: int, dtype: type[np.generic], blocks: Iterator[np.ndarray]) -> np.ndarray:
    """The rows of all blocks in a file, mapped to memory: its pages are let go of where others are needed."""
    stored, end = np.empty((0,), dtype), 0
    for block in blocks:
        if end == 0:
            stored = np.memmap(path, dtype, "w+", shape=(rows, *block.shape[1:]))
        first, end = end, end + len(block)
        stored[first:end] = np.rint(block) if dtype is np.uint8 else block
    return stored
