"""Training rows in chunks of steps. Order and augmentation are functions of (seed, epoch, chunk), nothing else."""

from abc import ABC, abstractmethod
from math import ceil

import numpy as np
from numpy.lib.stride_tricks import as_strided

from lib.models.schema import Augmentation
from lib.training.streams import Use, stream


class TrainingRows(ABC):
    """The training split in memory, given out in a new order each epoch."""

    def __init__(self, labels: np.ndarray, batch_size: int, seed: int) -> None:
        """`labels` is (N,); a batch larger than that is cut to it."""
        self.labels, self.batch_size, self.seed = labels, min(batch_size, len(labels)), seed
        self._order: tuple[int, np.ndarray] | None = None

    @property
    def steps(self) -> int:
        """Steps in an epoch; the last may have fewer rows."""
        return ceil(len(self.labels) / self.batch_size)

    def chunk(self, epoch: int, chunk: int, chunk_steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (n, …) and labels (n,) of steps chunk·chunk_steps onwards of `epoch`."""
        size = chunk_steps * self.batch_size
        rows = self._order_of(epoch)[chunk * size : (chunk + 1) * size]
        return self._augmented(rows, stream(self.seed, Use.AUGMENTATION, epoch, chunk)), self.labels[rows]

    def _order_of(self, epoch: int) -> np.ndarray:
        """All rows, shuffled; kept for the epoch's other chunks, since of many rows it takes seconds."""
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, stream(self.seed, Use.ORDER, epoch).permutation(len(self.labels))
        return self._order[1]

    @abstractmethod
    def _augmented(self, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The inputs of `rows`, varied by `random`."""


class TrainingFeatures(TrainingRows):
    """Features of a backbone: of an image's views, a random one each time."""

    def __init__(self, features: np.ndarray, labels: np.ndarray, batch_size: int, seed: int) -> None:
        """`features` is (N, views, D), `labels` (N,)."""
        super().__init__(labels, batch_size, seed)
        self._features = features

    def _augmented(self, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
        views = random.integers(self._features.shape[1], size=len(rows))
        chosen: np.ndarray = self._features[rows, views].astype(np.float32)
        return chosen


class TrainingImages(TrainingRows):
    """Images, padded once so that a shifted crop is one strided read."""

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, augmentation: Augmentation, batch_size: int, seed: int
    ) -> None:
        """`images` is (N, H, W, C) uint8, `labels` (N,)."""
        super().__init__(labels, batch_size, seed)
        self.augmentation = augmentation
        pad = augmentation.shift_px
        padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0))) if pad else images
        self._windows = _windows(padded, images.shape[1:3])

    def _augmented(self, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
        span = 2 * self.augmentation.shift_px + 1
        images: np.ndarray = self._windows[
            rows, random.integers(span, size=len(rows)), random.integers(span, size=len(rows))
        ]
        if self.augmentation.flip:
            flipped = random.random(len(rows)) < 0.5
            images[flipped] = images[flipped, :, ::-1]
        if size := self.augmentation.cutout_px:
            _cut_out(images, size, random)
        return images


def _windows(padded: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(N, dy, dx, H, W, C): every crop of `shape`, as a view."""
    rows, height, width, channels = padded.shape
    row, line, column, byte = padded.strides
    return as_strided(
        padded,
        (rows, height - shape[0] + 1, width - shape[1] + 1, *shape, channels),
        (row, line, column, line, column, byte),
        writeable=False,
    )


def _cut_out(images: np.ndarray, size: int, random: np.random.Generator) -> None:
    """Set one square of each image to 0, its centre anywhere (arXiv:1708.04552)."""
    height, width = images.shape[1:3]
    tops = random.integers(-(size // 2), height - size // 2, len(images))
    lefts = random.integers(-(size // 2), width - size // 2, len(images))
    for image, top, left in zip(images, tops, lefts, strict=True):
        image[max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)] = 0
