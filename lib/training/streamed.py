"""Training rows of more bytes than belong into memory: they are read a group at a time, in an order made for that.

Like `lib.training.batches`, each chunk is a function of (seed, epoch, chunk): nothing has to be saved to resume.
"""

import numpy as np

from lib.data.grouped import GroupedRows
from lib.models.schema import Augmentation
from lib.training.batches import Draws, PaddedImages, TrainingRows

CROPPED_TOGETHER = 1_000
"""Images that lie within borders at one time."""


class StreamedImages(TrainingRows):
    """Images that stay in their file, augmented anew each time."""

    def __init__(
        self, images: GroupedRows, augmentation: Augmentation, labels: np.ndarray, batch_size: int, seed: int
    ) -> None:
        """`labels` is (N,)."""
        super().__init__(labels, batch_size, seed)
        self._images, self._augmentation = images, augmentation

    def _shuffled(self, random: np.random.Generator) -> np.ndarray:
        return self._images.shuffled(random)

    def _augmented(
        self, rows: np.ndarray, random: np.random.Generator, augmentation: Augmentation | None
    ) -> np.ndarray:
        augmentation = augmentation or self._augmentation
        draws = Draws.of(len(rows), self._images.row_shape, augmentation, random)
        images = self._images.take(rows)
        unflipped = augmentation.model_copy(update={"flip": False})
        for first in range(0, len(rows), CROPPED_TOGETHER):
            part = slice(first, first + CROPPED_TOGETHER)
            padded = PaddedImages.of(images[part], unflipped)
            images[part] = padded.crops(np.arange(padded.rows), draws.down[part], draws.right[part], None)
        if draws.mirrored is not None:
            images[draws.mirrored] = images[draws.mirrored, :, ::-1]
        draws.cut_out(images)
        return images


class StreamedFeatures(TrainingRows):
    """Features of backbones that stay in their files: of an image's views, a random one each time."""

    def __init__(self, features: GroupedRows, labels: np.ndarray, batch_size: int, seed: int) -> None:
        """`features` is (N, views, D), `labels` (N,)."""
        super().__init__(labels, batch_size, seed)
        self._features = features

    def _shuffled(self, random: np.random.Generator) -> np.ndarray:
        return self._features.shuffled(random)

    def _augmented(
        self, rows: np.ndarray, random: np.random.Generator, augmentation: Augmentation | None
    ) -> np.ndarray:
        views = random.integers(self._features.row_shape[0], size=len(rows))
        chosen: np.ndarray = self._features.take(rows)[np.arange(len(rows)), views].astype(np.float32)
        return chosen
