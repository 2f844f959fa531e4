"""Training rows in chunks of steps. Order and augmentation are functions of (seed, epoch, chunk), nothing else."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
import tensorflow as tf
from numpy.lib.stride_tricks import as_strided

from lib.data.grouped import GroupedRows
from lib.models.schema import Augmentation, Size
from lib.training.streams import Use, stream

EVALUATION_BATCH = 512


class TrainingRows(ABC):
    """The training split, given out in a new order each epoch."""

    def __init__(self, labels: np.ndarray, batch_size: int, seed: int) -> None:
        """`labels` is (N,); a batch larger than that is cut to it."""
        self.labels, self.batch_size, self.seed = labels, min(batch_size, len(labels)), seed
        self._order: tuple[int, np.ndarray] | None = None

    @property
    def steps(self) -> int:
        """Steps in an epoch; the last may have fewer rows."""
        return ceil(len(self.labels) / self.batch_size)

    def chunk(
        self, epoch: int, chunk: int, chunk_steps: int, augmentation: Augmentation | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (n, …) and labels (n,) of steps chunk·chunk_steps onwards of `epoch`.

        `augmentation`, where it is given, stands in place of the rows' own, which is no weaker.
        """
        size = chunk_steps * self.batch_size
        rows = self._order_of(epoch)[chunk * size : (chunk + 1) * size]
        random = stream(self.seed, Use.AUGMENTATION, epoch, chunk)
        return self._augmented(rows, random, augmentation), self.labels[rows]

    def _order_of(self, epoch: int) -> np.ndarray:
        """All rows, shuffled; kept for the epoch's other chunks, since of many rows it takes seconds."""
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, self._shuffled(stream(self.seed, Use.ORDER, epoch))
        return self._order[1]

    def _shuffled(self, random: np.random.Generator) -> np.ndarray:
        return random.permutation(len(self.labels))

    @abstractmethod
    def _augmented(
        self, rows: np.ndarray, random: np.random.Generator, augmentation: Augmentation | None
    ) -> np.ndarray:
        """The inputs of `rows`, varied by `random`."""


class TrainingFeatures(TrainingRows):
    """Features of a backbone: of an image's views, a random one each time."""

    def __init__(self, features: np.ndarray, labels: np.ndarray, batch_size: int, seed: int) -> None:
        """`features` is (N, views, D), `labels` (N,)."""
        super().__init__(labels, batch_size, seed)
        self._features = features

    def _augmented(
        self, rows: np.ndarray, random: np.random.Generator, augmentation: Augmentation | None
    ) -> np.ndarray:
        views = random.integers(self._features.shape[1], size=len(rows))
        chosen: np.ndarray = self._features[rows, views].astype(np.float32)
        return chosen


@dataclass(frozen=True)
class Draws:
    """All that is random in the augmentation of n images."""

    down: np.ndarray
    right: np.ndarray
    """(n,): where in an image within borders its crop begins."""
    mirrored: np.ndarray | None
    """(n,): whether it is mirrored then."""
    cutout: tuple[np.ndarray, np.ndarray, int] | None
    """(n,) top and left of a square that is blanked, and its side."""

    @classmethod
    def of(
        cls, count: int, image_shape: tuple[int, ...], augmentation: Augmentation, random: np.random.Generator
    ) -> "Draws":
        offsets = 2 * augmentation.shift_px + 1
        down, right = (random.integers(offsets, size=count) for _ in range(2))
        mirrored = random.random(count) < 0.5 if augmentation.flip else None
        size, cutout = augmentation.cutout_px, None
        if size:
            tops, lefts = (random.integers(-(size // 2), side - size // 2, count) for side in image_shape[:2])
            cutout = tops, lefts, size
        return cls(down, right, mirrored, cutout)

    def cut_out(self, images: np.ndarray) -> None:
        """Set one square of each image to 0, its centre anywhere (arXiv:1708.04552)."""
        if self.cutout is None:
            return
        (tops, lefts, size), (height, width) = self.cutout, images.shape[1:3]
        # What lies outside is taken to the edge, which is within the square then.
        lines = np.clip(tops[:, None] + np.arange(size), 0, height - 1)
        columns = np.clip(lefts[:, None] + np.arange(size), 0, width - 1)
        images[np.arange(len(images))[:, None, None], lines[:, :, None], columns[:, None, :]] = 0


class PaddedImages:
    """Images within borders of 0, and their mirror images behind them where they are flipped: a crop is one read.

    The border at the right of a line is that at the left of the next one, and the border below an image that above the
    next: with 4 pixels around 32, that is 1.27 times the memory of the images in place of 1.56.
    """

    def __init__(self, shape: tuple[int, int, int, int], augmentation: Augmentation) -> None:
        """Room for images of `shape` (N, H, W, C), to be filled in through `images`."""
        self.rows, self.augmentation, border = shape[0], augmentation, augmentation.shift_px
        self.image_shape = shape[1:]
        height, width = (side + border for side in shape[1:3])
        line = width * shape[3]
        self._strides = height * line, line, shape[3], 1
        lines = self.rows * (1 + augmentation.flip) * height + border
        self._pixels = np.zeros(lines * line + border * shape[3], np.uint8)
        self._first = self._pixels[border * line + border * shape[3] :]
        self._windows = self._crops()

    @classmethod
    def of(cls, images: np.ndarray, augmentation: Augmentation) -> "PaddedImages":
        """A padded copy of `images` (N, H, W, C) uint8."""
        padded = cls(images.shape, augmentation)
        padded.images[:] = images
        return padded

    @property
    def images(self) -> np.ndarray:
        """(N, H, W, C) uint8, to be written to."""
        return as_strided(self._first, (self.rows, *self.image_shape), self._strides)

    @property
    def offsets(self) -> int:
        """How many places a crop can begin at, down and right."""
        return 2 * self.augmentation.shift_px + 1

    def mirror(self) -> None:
        """Make the mirror images, once all images are in. Mirroring each crop anew would take three times as long."""
        if self.augmentation.flip:
            behind = self._first[self.rows * self._strides[0] :]
            as_strided(behind, (self.rows, *self.image_shape), self._strides)[:] = self.images[:, :, ::-1]

    def _crops(self) -> np.ndarray:
        """(N, offsets, offsets, H, W, C): every crop, as a view."""
        image, line, column, byte = self._strides
        rows = self.rows * (1 + self.augmentation.flip)
        shape = rows, self.offsets, self.offsets, *self.image_shape
        return as_strided(self._pixels, shape, (image, line, column, line, column, byte), writeable=False)

    def crops(self, rows: np.ndarray, down: np.ndarray, right: np.ndarray, mirrored: np.ndarray | None) -> np.ndarray:
        """(n, H, W, C): of each of `rows` the crop that begins at `down`, `right`, then mirrored if so."""
        if mirrored is not None:
            rows = rows + self.rows * mirrored
            right = np.where(mirrored, self.offsets - 1 - right, right)
        crops: np.ndarray = self._windows[rows, down, right]
        return crops


class TrainingImages(TrainingRows):
    """Images, augmented anew each time."""

    def __init__(self, images: PaddedImages, labels: np.ndarray, batch_size: int, seed: int) -> None:
        """`labels` is (N,)."""
        super().__init__(labels, batch_size, seed)
        images.mirror()
        self._images = images

    def _augmented(
        self, rows: np.ndarray, random: np.random.Generator, augmentation: Augmentation | None
    ) -> np.ndarray:
        most = self._images.augmentation
        augmentation = augmentation or most
        draws = Draws.of(len(rows), self._images.image_shape, augmentation, random)
        border = most.shift_px - augmentation.shift_px
        images = self._images.crops(rows, border + draws.down, border + draws.right, draws.mirrored)
        draws.cut_out(images)
        return images


class ValidationRows:
    """The validation split, of the size that is trained on."""

    def __init__(self, inputs: np.ndarray | GroupedRows, labels: np.ndarray) -> None:
        """`inputs` (N, …) and `labels` (N,)."""
        self.inputs, self.labels = inputs, labels
        self._made: dict[int | None, tf.data.Dataset] = {}

    def of(self, size: Size | None) -> tf.data.Dataset:
        """Batches. Made once: for a small model, making them anew in each epoch takes longer than reading them."""
        px = size.px if size else None
        if px not in self._made:
            self._made[px] = self._batches(px)
        return self._made[px]

    def _batches(self, px: int | None) -> tf.data.Dataset:
        inputs = self.inputs
        if not isinstance(inputs, GroupedRows):
            rows = tf.data.Dataset.from_tensor_slices((resized(inputs, px), self.labels))
            return rows.batch(EVALUATION_BATCH)
        shape = (px, px, inputs.row_shape[2]) if px else inputs.row_shape
        kinds = tf.TensorSpec((None, *shape), inputs.dtype), tf.TensorSpec((None,), self.labels.dtype)

        def read() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for number, block in enumerate(inputs.blocks(EVALUATION_BATCH)):
                first = number * EVALUATION_BATCH
                yield resized(block, px), self.labels[first : first + len(block)]

        batches = ceil(len(inputs) / EVALUATION_BATCH)
        # Keras warns where a dataset of unknown length ends.
        return tf.data.Dataset.from_generator(read, output_signature=kinds).apply(
            tf.data.experimental.assert_cardinality(batches)
        )


def resized(images: np.ndarray, px: int | None) -> np.ndarray:
    """`images` (N, H, W, C) uint8 as squares of side `px`, each pixel a mean of those that it covers."""
    if px is None or images.shape[1:3] == (px, px):
        return images
    mean = tf.image.resize(images, (px, px), tf.image.ResizeMethod.AREA)
    return tf.cast(tf.round(mean), tf.uint8).numpy()  # type: ignore[no-any-return]
