"""Images of one's own, made for tests: each is one colour and a mark, so that what a model is given is known."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from lib.images.own_source import OwnSource

CLASSES = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def png(pixels: np.ndarray) -> bytes:
    """`pixels` (H, W, 3) uint8, encoded without loss."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def picture(colour: tuple[int, int, int], number: int, px: int = 16) -> np.ndarray:
    """A square of `colour` whose first pixels count to `number`."""
    pixels = np.full((px, px, 3), colour, np.uint8)
    pixels[0, :3, 2] = number % 251, number // 251 % 251, number // 251**2
    return pixels


def write_folder(folder: Path, count: int, first: int = 0) -> Path:
    """`count` images of each class, numbered from `first`."""
    for name, colour in CLASSES.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            (folder / name / f"{number}.png").write_bytes(png(picture(colour, number)))
    return folder


def source(folder: Path, **options: object) -> OwnSource:
    """The folder as a dataset."""
    return OwnSource.model_validate({"name": "colours", "uri": str(folder), "px": 16, **options})
