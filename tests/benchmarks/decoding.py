"""Measure how images of a person's own are decoded: `python -m tests.benchmarks.decoding`.

JPEG files of 640 × 427 in class folders, as photos are (60 to 90 kB), to squares of 64 px: images a processor second of
ours, in processes of their own as a user has it and in this one, against Keras's `image_dataset_from_directory` and the
imagefolder of Hugging Face's `datasets`, iterated to the end. The start of our processes is part of ours. Keras looks
at four pixels for each one of the result, whatever lies between them; the others weigh all.
"""

import io
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
from PIL import Image, ImageDraw

from lib.images.decoding import DRAFT_RATIO, Picture, decode
from lib.images.decoding_process import decode_all
from tests.benchmarks.measuring import Measured, given, in_turn, over, processor_seconds, said, show

TURNS, FILES, CLASSES, ROUNDS, PX = 5, 600, 3, 5, 64
WIDTH, HEIGHT = 640, 427
LAYERS = ((4, 40), (16, 40), (64, 30), (256, 18))
"""Of a photo: how many spots lie side by side, and how far they differ."""


def photo(number: int) -> bytes:
    """A JPEG of smooth spots of all sizes, a gradient, a little noise and the edges of letters."""
    random = np.random.default_rng(number)
    pixels = random.normal(0, 1, (HEIGHT, WIDTH, 1)) + np.linspace(60, 170, HEIGHT)[:, None, None]
    for across, spread in LAYERS:
        spots = random.normal(0, spread, (HEIGHT * across // WIDTH + 2, across, 3)).astype(np.float32)
        spots = 0.35 * spots + 1.1 * spots.mean(axis=2, keepdims=True)  # colours differ less than brightness does
        layers = [
            Image.fromarray(spots[..., each]).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC) for each in (0, 1, 2)
        ]
        pixels = pixels + np.stack([np.asarray(each) for each in layers], axis=2)
    image, file = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), io.BytesIO()
    for _ in range(6):
        at, colour = random.integers(0, 380, 2), tuple(map(int, random.integers(0, 256, 3)))
        ImageDraw.Draw(image).text(tuple(map(int, at)), f"photo {number}", fill=colour, font_size=24)
    image.save(file, "jpeg", quality=85 + number % 6)
    return file.getvalue()


def write_photos(folder: Path) -> list[Path]:
    files = [folder / f"class {number % CLASSES}" / f"{number}.jpg" for number in range(FILES)]
    for number, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(photo(number))
    return files


def rate(work: Callable[[], int]) -> float:
    """Images a processor second, those of processes that have ended among them."""
    whose = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    before = sum(map(processor_seconds, whose))
    count = work()
    return count / (sum(map(processor_seconds, whose)) - before)


def contents(files: list[Path]) -> Iterator[bytes]:
    for _ in range(ROUNDS):
        for file in files:
            yield file.read_bytes()


def in_processes(files: list[Path]) -> int:
    return sum(isinstance(each, Picture) for each in decode_all(contents(files), PX, 3))


def in_this_process(files: list[Path]) -> int:
    return sum(decode(each, PX, 3).pixels.shape == (PX, PX, 3) for each in contents(files))


def libjpeg(files: list[Path]) -> int:
    """Nothing but libjpeg, at the size from which ours is reduced: what any way of this kind takes at the least."""
    count = 0
    for each in contents(files):
        image = Image.open(io.BytesIO(each), formats=("JPEG",))
        image.draft(None, (int(DRAFT_RATIO * PX),) * 2)
        image.load()
        count += 1
    return count


def keras_directory(folder: Path) -> Callable[[], int]:
    def iterate() -> int:
        found = keras.utils.image_dataset_from_directory(str(folder), image_size=(PX, PX), verbose=False)
        return sum(len(images) for _ in range(ROUNDS) for images, _ in found)

    return iterate


def hugging_face(folder: Path, cache: Path) -> Callable[[], int]:
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(cache)}  # read at the import
    import datasets

    datasets.disable_progress_bars()
    found = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train")

    def iterate() -> int:
        squares = (row["image"].resize((PX, PX), Image.Resampling.BILINEAR) for _ in range(ROUNDS) for row in found)
        return sum(np.asarray(each).shape == (PX, PX, 3) for each in squares)

    return iterate


def measure() -> list[Measured]:
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "photos")
        files = write_photos(photos)
        works = (
            lambda: in_processes(files),
            lambda: in_this_process(files),
            keras_directory(photos),
            hugging_face(photos, Path(folder, "cache")),
            lambda: libjpeg(files),
        )
        turns = in_turn(TURNS, *(lambda work=work: rate(work) for work in works))
        size = sum(file.stat().st_size for file in files) / len(files) / 1000
    unit = "images/processor s"
    return [
        Measured(f"JPEG of {WIDTH} × {HEIGHT} and {size:.0f} kB → {PX} px, {how}", said(ours, unit, ",.0f"),
                 f"{name}: {said(theirs, unit, ',.0f')}", over(ours, theirs), "≥ 2",
                 f"libjpeg alone: {said(turns[4], unit, ',.0f')}")
        for how, ours in (("in processes", turns[0]), ("in one", turns[1]))
        for name, theirs in (("Keras", turns[2]), ("datasets", turns[3]))
    ]  # fmt: skip


if __name__ == "__main__":
    given(__doc__)
    show(measure())
