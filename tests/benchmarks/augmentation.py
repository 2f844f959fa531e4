"""Measure augmented batches: `python -m tests.benchmarks.augmentation`.

Images of 32 px, shifted by up to 4 and mirrored, then with a square of 8 px blanked too: images a processor second of
`PaddedImages` against what stood here before (crops of one padded copy, a boolean scatter for the mirror, a loop for
the square) and against Keras's layers of the same effect.
"""

import keras
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lib.models.schema import Augmentation
from lib.training.batches import PaddedImages, TrainingImages
from tests.benchmarks.measuring import Measured, given, in_turn, over, said, show, spent

TURNS, ROWS, CHUNK_STEPS, BATCH, SHIFT, SQUARE = 7, 20_000, 50, 128, 4, 8
KERAS_ROWS = 2_048


def before(padded: np.ndarray, rows: np.ndarray, random: np.random.Generator, square: int) -> np.ndarray:
    """Crops of `rows`, as this package made them until November 2026."""
    windows = sliding_window_view(padded, (32, 32, 3), axis=(1, 2, 3))[:, :, :, 0]
    down, right = random.integers(2 * SHIFT + 1, size=len(rows)), random.integers(2 * SHIFT + 1, size=len(rows))
    images: np.ndarray = windows[rows, down, right]
    mirrored = random.random(len(rows)) < 0.5
    images[mirrored] = images[mirrored, :, ::-1]
    if square:
        tops = random.integers(-(square // 2), 32 - square // 2, len(images))
        lefts = random.integers(-(square // 2), 32 - square // 2, len(images))
        for image, top, left in zip(images, tops, lefts, strict=True):
            image[max(top, 0) : max(top + square, 0), max(left, 0) : max(left + square, 0)] = 0
    return images


def epochs(images: np.ndarray, square: int) -> list[Measured]:
    augmentation = Augmentation(shift_px=SHIFT, flip=True, cutout_px=square)
    labels = np.zeros(len(images), np.int32)
    ours = TrainingImages(PaddedImages.of(images, augmentation), labels, BATCH, 0)
    padded = np.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)))
    chunk = CHUNK_STEPS * BATCH
    order = np.random.default_rng(0).permutation(len(images))[:chunk]

    def rate(seconds: float, rows: int = chunk) -> float:
        return rows / seconds / 1000

    random = np.random.default_rng(0)
    layers = keras.Sequential([keras.layers.RandomTranslation(0.125, 0.125), keras.layers.RandomFlip("horizontal")])
    turns = in_turn(
        TURNS,
        lambda: rate(spent(lambda: ours.chunk(0, 0, CHUNK_STEPS))),
        lambda: rate(spent(lambda: before(padded, order, random, square))),
        lambda: rate(spent(lambda: layers(images[:KERAS_ROWS], training=True)), KERAS_ROWS),
        lambda: rate(spent(images[:chunk].copy)),
    )
    what = "shifted and mirrored" + (", a square blanked" if square else "")
    unit, limit = "k images/processor s", f"copying {said(turns[3], 'k', ',.0f')}"
    peers = [("before", turns[1], "≥ 1.3" if square else "≥ 3.5")] + ([] if square else [("Keras", turns[2], "")])
    return [
        Measured(what, said(turns[0], unit, ",.0f"), f"{name}: {said(theirs, unit, ',.0f')}", over(turns[0], theirs),
                 asked, limit)
        for name, theirs, asked in peers
    ]  # fmt: skip


def measure() -> list[Measured]:
    images = np.random.default_rng(0).integers(0, 256, (ROWS, 32, 32, 3)).astype(np.uint8)
    return [*epochs(images, 0), *epochs(images, SQUARE)]


if __name__ == "__main__":
    given(__doc__)
    show(measure())
