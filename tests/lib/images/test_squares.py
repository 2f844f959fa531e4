"""Shards to squares of pixels: which come in which order, and what is said of those that are not as they were."""

from pathlib import Path

import numpy as np
import psutil
import pytest

from lib.errors import PermanentError
from lib.images.shards import Found, Row, read_labels, write_shards
from lib.images.squares import check_rows, read_squares

from .encoded_images import grey_png

SIDES = ("train", "validation", "train", "test", "validation", "train", "test")


def shards(folder: Path, broken: int | None = None) -> list[Path]:
    """An image for each of SIDES, in two files: of 2 × 2 pixels, grey, whose value and label are its row."""
    files = []
    for number, rows in enumerate((range(4), range(4, 7))):
        written = (
            Row(b"none" if row == broken else grey_png(row), f"{row}.png", row, SIDES[row], None, Found("", "", 1, ()))
            for row in rows
        )
        (folder / str(number)).mkdir(parents=True)
        files += write_shards(folder / str(number), written, [str(row) for row in range(7)])
    return files


def test_images_come_split_by_split_in_the_order_of_their_rows(tmp_path: Path) -> None:
    files = shards(tmp_path)
    images = [*read_squares(files, ("train", "validation"), 2, 1)]
    assert [image.shape for image in images] == [(2, 2, 1)] * 5
    assert [np.unique(image).tolist() for image in images] == [[0], [2], [5], [1], [4]]
    assert [int(image[0, 0, 0]) for image in read_squares(files, ("test",), 2, 1)] == [3, 6]


def test_labels_come_in_the_same_order(tmp_path: Path) -> None:
    labels = read_labels(shards(tmp_path))
    assert {split: values.tolist() for split, values in labels.items()} == {
        "train": [0, 2, 5], "validation": [1, 4], "test": [3, 6],
    }  # fmt: skip
    assert {values.dtype for values in labels.values()} == {np.dtype(np.int32)}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({"train": 4, "validation": 2, "test": 2}, "train must have 4 rows; the shards have fewer"),
        ({"train": 3, "validation": 1, "test": 2}, "validation must have 1 rows; the shards have more"),
        ({"train": 3, "validation": 2}, "test must have 0 rows; the shards have more"),
        ({"train": 3, "validation": 2, "test": 2, "more": 1}, "more must have 1 rows; the shards have fewer"),
    ],
)
def test_other_rows_than_are_promised_are_refused(tmp_path: Path, rows: dict[str, int], says: str) -> None:
    labels = read_labels(shards(tmp_path))
    check_rows(labels, {"train": 3, "validation": 2, "test": 2})
    with pytest.raises(PermanentError, match=f"^{says}$"):
        check_rows(labels, rows)


def test_an_image_that_cannot_be_decoded_is_named_and_no_decoder_is_left(tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    with pytest.raises(PermanentError, match=r"^4\.png could be read when it was collected: "):
        [*read_squares(shards(tmp_path, broken=4), ("train", "validation"), 2, 1)]
    assert set(psutil.Process().children()) == before


def test_decoders_end_with_who_asks_for_images(tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    images = read_squares(shards(tmp_path), ("train",), 2, 1)
    next(images)
    assert set(psutil.Process().children()) > before
    images.close()
    assert set(psutil.Process().children()) == before
