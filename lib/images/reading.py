"""Reads and decodes the images of a source, each once."""

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

from lib.errors import PermanentError
from lib.images.collected import Collected
from lib.images.decoding import Picture, Unreadable, pixel_digest
from lib.images.decoding_process import decode_all
from lib.images.shards import Found
from lib.images.source_images import SourceImage

SURELY_DECODED_PIXELS = 1 << 20
"""Of these each decoder has the time and the memory to read a PNG, wherever it runs."""


def read_images(images: Iterator[SourceImage], spool: BinaryIO, to: Collected, progress: Callable[[int], None]) -> None:
    """Add each of `images` to `to`, and its bytes to `spool`. Only what `to` does not know is decoded."""
    waiting = deque[tuple[SourceImage, str, int, int]]()

    def keep(image: SourceImage, found: Found, begin: int, size: int) -> None:
        to.keep(image, found, begin, size)
        progress(to.kept)

    def unknown() -> Iterator[bytes]:
        for image in images:
            try:
                data = bytes_of(image)
            except PermanentError as error:
                to.refuse([(image.place, str(error))])
                continue
            sha256, begin = hashlib.sha256(data).hexdigest(), spool.tell()
            spool.write(data)
            if found := to.known(sha256) or _found_at_once(sha256, image.pixels):
                keep(image, found, begin, len(data))
            else:
                waiting.append((image, sha256, begin, len(data)))
                yield data

    for picture in decode_all(unknown(), None, None):
        image, sha256, begin, size = waiting.popleft()
        if isinstance(picture, Unreadable):
            to.refuse([(image.place, str(picture))])
        else:
            keep(image, _found(sha256, picture), begin, size)
    spool.flush()


def found_in(data: bytes, picture: Picture) -> Found:
    """What is known of an image by its bytes and what they show."""
    return _found(hashlib.sha256(data).hexdigest(), picture)


def _found(sha256: str, picture: Picture) -> Found:
    return Found(sha256, pixel_digest(picture), picture.pixels.shape[-1], tuple(picture.conversions))


def _found_at_once(sha256: str, pixels: np.ndarray | None) -> Found | None:
    """What decoding would find in a PNG of `pixels` that `bytes_of` made: these, as it loses nothing."""
    if pixels is None or pixels.shape[-1] not in {1, 3} or pixels[..., 0].size > SURELY_DECODED_PIXELS:
        return None
    return _found(sha256, Picture(pixels, pixels.shape[:2], "", "PNG", ()))


def bytes_of(image: SourceImage) -> bytes:
    """The image as it is encoded; what has none is encoded here, without loss."""
    if image.pixels is None:
        return image.read()
    stream = io.BytesIO()
    pixels = image.pixels[..., 0] if image.pixels.shape[-1] == 1 else image.pixels
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "png")
    return stream.getvalue()
