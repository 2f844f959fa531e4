"""Whether two images show the same picture, perhaps shifted by a few pixels or mirrored: by correlation of pixels."""

import numpy as np

SHIFT = 8
"""A crop leaves out the eighth part of the height and the width at each side, and is shifted by at most that."""
FLAT = 1.0
"""Standard deviation, in grey levels, below which a crop shows nothing that could be compared."""


def shifted_correlation(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(n,) float64 from -1 to 1: how alike `left[k]` and `right[k]` are, both (n, H, W, C) uint8.

    It is the highest Pearson correlation of all pixels of the middle of one with the pixels of as large a crop of the
    other or of its mirror image, wherever that lies. Brightness and contrast do not count. A crop of one colour
    correlates with nothing: 0. The order of the two does not matter.
    """
    first, second = left.astype(np.float32), right.astype(np.float32)
    mirrored = second[:, :, ::-1]
    # Mirrored back, the middle of the mirror image is that of the image, so both ways of it are tried too.
    ways = [(first, second), (second, first), (first, mirrored), (mirrored, first)]
    highest: np.ndarray = np.max([_of_middle(*way) for way in ways], axis=0)
    return highest


def _of_middle(of: np.ndarray, within: np.ndarray) -> np.ndarray:
    """(n,): the highest correlation of the middle of each image with a crop of the other."""
    height, width = of.shape[1:3]
    down, across = height // SHIFT, width // SHIFT
    middle = of[:, down : height - down, across : width - across]
    numbers = middle[0].size
    middle = middle - middle.mean(axis=(1, 2, 3), keepdims=True)
    # The mean of each image, so that float32 suffices; it changes no correlation.
    within = within - within.mean(axis=(1, 2, 3), keepdims=True)
    sums, squares = (_sums_of_crops(each, middle.shape[1:3]) for each in (within, within**2))
    deviation = np.sqrt(np.maximum(squares - sums**2 / numbers, 0)) / np.sqrt(numbers)
    own = np.sqrt((middle.astype(np.float64) ** 2).mean(axis=(1, 2, 3)))[:, np.newaxis, np.newaxis]
    shapes = (height, width), (2 * down + 1, 2 * across + 1)
    covariance = _products_with_crops(middle, within, *shapes) / numbers
    comparable = (deviation >= FLAT) & (own >= FLAT)
    correlation = np.divide(covariance, own * deviation, out=np.zeros_like(covariance), where=comparable)
    highest: np.ndarray = correlation.max(axis=(1, 2)).clip(-1, 1)
    return highest


def _products_with_crops(
    middle: np.ndarray, within: np.ndarray, size: tuple[int, int], places: tuple[int, int]
) -> np.ndarray:
    """(n, *places) float64: the sum over pixels of `middle` times the crop of `within` at each place."""
    of_within, of_middle = (np.fft.rfft2(images, size, axes=(1, 2)) for images in (within, middle))
    product = (of_within * of_middle.conj()).sum(axis=-1)
    # Crops do not wrap around: the places at which they would are cut off.
    return np.fft.irfft2(product, size, axes=(1, 2))[:, : places[0], : places[1]].astype(np.float64)


def _sums_of_crops(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(n, places down, places across) float64: the sum over each crop of `size`, all channels together."""
    count, height, width, _ = images.shape
    corners = np.zeros((count, height + 1, width + 1))
    corners[:, 1:, 1:] = images.sum(axis=-1, dtype=np.float64).cumsum(axis=1).cumsum(axis=2)
    down, across = size
    right = corners[:, :, across:] - corners[:, :, :-across]
    sums: np.ndarray = right[:, down:] - right[:, :-down]
    return sums
