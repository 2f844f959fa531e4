"""A person's images, decoded to squares of pixels of one size."""

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np

from lib.errors import PermanentError, shortened
from lib.images.decoding import Unreadable
from lib.images.decoding_process import decode_all
from lib.images.shards import read_shards


def check_rows(labels: Mapping[str, np.ndarray], rows: Mapping[str, int]) -> None:
    """Raise PermanentError where splits have not as many `labels` as `rows` says."""
    for split in {**rows, **labels}:
        if (has := len(labels.get(split, ()))) != (must := rows.get(split, 0)):
            raise PermanentError(
                f"{split} must have {must:,} rows; the shards have {'more' if has > must else 'fewer'}"
            )


def read_squares(
    shards: Sequence[Path], splits: Sequence[str], px: int, channels: Literal[1, 3]
) -> Generator[np.ndarray, None, None]:
    """The images of the first of `splits`, then those of the next: each (px, px, channels) uint8, decoded as it is
    asked for.

    Raises PermanentError where one cannot be.
    """
    places = deque[str]()

    def encoded() -> Iterator[bytes]:
        for split in splits:
            for row in read_shards(shards, split):
                places.append(row.place)
                yield row.image

    with closing(decode_all(encoded(), px, channels)) as pictures:
        for picture in pictures:
            place = places.popleft()
            if isinstance(picture, Unreadable):
                raise PermanentError(f"{shortened(place)} could be read when it was collected: {picture}")
            yield picture.pixels
