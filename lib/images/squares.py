"""A person's images, decoded to squares of pixels of one size."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lib.errors import PermanentError, shortened
from lib.images.decoding import Unreadable
from lib.images.decoding_process import decode_all
from lib.images.shards import read_shards


def decode_squares(shards: list[Path], into: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Fill `into`: split → images (N, px, px, C) uint8 and labels (N,) int32, as many as the shards have.

    Raises PermanentError where they are not as they were written.
    """
    _, px, _, channels = next(iter(into.values()))[0].shape
    filled = dict.fromkeys(into, 0)
    pictures = decode_all((row.image for row in read_shards(shards)), px, 1 if channels == 1 else 3)
    for row, picture in zip(read_shards(shards), pictures, strict=True):
        if isinstance(picture, Unreadable):
            raise PermanentError(f"{shortened(row.place)} could be read when it was collected: {picture}")
        images, labels = into[row.split]
        if filled[row.split] == len(images):
            raise PermanentError(f"{row.split} must have {len(images):,} rows; the shards have more")
        images[filled[row.split]], labels[filled[row.split]] = picture.pixels, row.label
        filled[row.split] += 1
    if missing := [split for split, (images, _) in into.items() if filled[split] != len(images)]:
        raise PermanentError(f"{missing[0]} must have {len(into[missing[0]][0]):,} rows; the shards have fewer")
