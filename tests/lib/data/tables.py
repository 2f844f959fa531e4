"""A file of images as arrays, read as training reads it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.data.parquet import Destination, ImageFile, LabelTable, copy_images


@dataclass(frozen=True)
class ImageTable(LabelTable):
    """A whole split."""

    images: np.ndarray  # (N, H, W, C) uint8


def read_images(path: Path) -> ImageTable:
    file = ImageFile(path)
    images = np.empty((len(file.table.labels), *file.image_shape), np.uint8)
    labels = copy_images(path, [Destination(np.arange(len(images)), images)])
    return ImageTable(**vars(labels), images=images)
