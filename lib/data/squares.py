"""A person's images, decoded to squares of pixels of one size."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lib.data.datasets import DatasetSpec
from lib.data.decoding import Unreadable
from lib.data.decoding_process import decode_all
from lib.data.shards import read_shards
from lib.errors import PermanentError, shortened

PLACE_OF_SPLIT = {"train": "train", "validation": "train", "test": "test"}
"""Validation lies behind the training rows: see `DatasetSpec.validation`."""


def decode_squares(spec: DatasetSpec, files: Mapping[str, Path]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Source split → images (N, H, W, C) uint8 and labels (N,) int32, of the shards `files` in order of their names.

    Raises PermanentError where a shard is not as it was written.
    """
    shards = [files[name] for name in sorted(files)]
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {
        split: (np.empty((rows, *spec.image_shape), np.uint8), np.empty(rows, np.int32))
        for split, rows in spec.rows.items()
    }
    begin = {"train": 0, "validation": spec.rows["train"] - spec.validation_rows, "test": 0}
    end = {"train": begin["validation"], "validation": spec.rows["train"], "test": spec.rows["test"]}
    side_px, channels = spec.image_shape[0], 1 if spec.image_shape[2] == 1 else 3
    pictures = decode_all((row.image for row in read_shards(shards)), side_px, channels)
    for row, picture in zip(read_shards(shards), pictures, strict=True):
        if isinstance(picture, Unreadable):
            raise PermanentError(f"{spec.name}: {shortened(row.place)} could be read when it was collected: {picture}")
        at = begin[row.split]
        if at >= end[row.split]:
            raise PermanentError(f"{spec.name}: {row.split} must have {end[row.split]:,} rows; its shards have more")
        images, labels = found[PLACE_OF_SPLIT[row.split]]
        images[at], labels[at] = picture.pixels, row.label
        begin[row.split] = at + 1
    if begin != end:
        raise PermanentError(f"{spec.name}: its shards must have all rows; received {begin} of {end}")
    return found
