"""Small images side by side on one sheet, and cut from it again: the page writes their captions."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from pydantic import TypeAdapter

from lib.lineage.manifests import Manifest, read_file
from lib.store import Store

COLUMNS = 5
ENLARGED = 3
"""Side of a pixel on the sheet."""


class Caption(NamedTuple):
    """What is said of one image of a sheet."""

    label: str
    predicted: str | None = None
    """None: nothing was predicted, the image is a sample."""
    confidence: float = 1.0
    """Probability of the predicted class, 0 to 1."""


def read_captions(store: Store, report: Manifest) -> dict[str, list[Caption]]:
    """The captions of each sheet of a stored report. Raises PermanentError where the file has none."""

    def read(path: Path) -> dict[str, list[Caption]]:
        return TypeAdapter(dict[str, list[Caption]]).validate_json(path.read_bytes(), strict=True)

    return read_file(store, report, "captions", read)


def sheet(images: np.ndarray) -> bytes:
    """A PNG of images (N, H, W, C) uint8, grey or RGB, in rows of five; each pixel is a square of ENLARGED.

    Of no image it is one black row.
    """
    count, height, width, channels = images.shape
    rows = max(1, -(-count // COLUMNS))
    places = np.zeros((rows * COLUMNS, height, width, channels), np.uint8)
    places[:count] = images
    joined = places.reshape(rows, COLUMNS, height, width, channels).swapaxes(1, 2)
    flat = joined.reshape(rows * height, COLUMNS * width, channels).repeat(ENLARGED, 0).repeat(ENLARGED, 1)
    return _png(Image.fromarray(flat[..., 0] if channels == 1 else flat))


def boxes(sheet: bytes, count: int) -> list[tuple[int, int, int, int]]:
    """Where the first `count` images of a sheet are: left, top, width and height, in pixels of the sheet."""
    whole = Image.open(io.BytesIO(sheet))
    width, height = whole.width // COLUMNS, whole.height // max(-(-count // COLUMNS), 1)
    return [(place % COLUMNS * width, place // COLUMNS * height, width, height) for place in range(count)]


def cut(sheet: bytes, box: tuple[int, int, int, int]) -> bytes:
    """One image of a sheet as a PNG file of its own."""
    left, top, width, height = box
    return _png(Image.open(io.BytesIO(sheet)).crop((left, top, left + width, top + height)))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()
