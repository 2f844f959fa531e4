"""Parquet files without images and labels, or that are damaged, are refused with what to do."""

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.images.layouts import Columns
from lib.images.source_images import TO_BE_FOUND

from .test_image_tables import BYTES, CLASS, NAMES, features, write
from .test_layouts import refusal

WRONG: dict[str, tuple[Callable[[Path], object], Columns, str]] = {
    "no Parquet": (
        lambda at: at.write_bytes(b"PAR1" + b"rot" * 99), TO_BE_FOUND,
        "x.parquet must be a whole Parquet file; received ",
    ),
    "nothing": (lambda at: at.touch(), TO_BE_FOUND, "x.parquet must be a whole Parquet file; received "),
    "a cut file": (
        lambda at: os.truncate(write(at, image=BYTES, label=NAMES[:1] * 3), 99), TO_BE_FOUND,
        "x.parquet must be a whole Parquet file; received ",
    ),
    "no images": (
        lambda at: write(at, label=[1]), TO_BE_FOUND,
        "x.parquet must have a column with images, as bytes or paths; received the columns label; name one by --im",
    ),
    "images as lists": (
        lambda at: write(at, image=[[1, 2]], label=[1]), Columns("image"),
        "x.parquet must have images as bytes, as Hugging Face's struct of bytes and path, or as paths; received image "
        "list<",
    ),
    "two columns of images": (
        lambda at: write(at, image=[b"x"], img=[b"x"], label=[1]), TO_BE_FOUND,
        "x.parquet must have one image column; received image, img; name one by --image-column",
    ),
    "no labels": (
        lambda at: write(at, image=[b"x"], width=[1]), TO_BE_FOUND,
        "x.parquet must have a column with each image's label; received the columns image, width; name one by --la",
    ),
    "two columns of labels": (
        lambda at: write(at, image=[b"x"], label=[1], category=[1]), TO_BE_FOUND,
        "x.parquet must have one label column; received label, category; name one by --label-column",
    ),
    "two columns of classes": (
        lambda at: write(at, features(fine=CLASS, coarse=CLASS), image=[b"x"], fine=[1], coarse=[1]), TO_BE_FOUND,
        "x.parquet must have one label column; received fine, coarse; name one by --label-column",
    ),
    "labels as lists": (
        lambda at: write(at, image=[b"x"], label=[[1]]), TO_BE_FOUND,
"x.parquet must have a label that is a number or a text; received label list<",
    ),
    "a group of bytes": (
        lambda at: write(at, image=[b"x"], label=[1], who=[b"x"]), Columns(group="who"),
        "x.parquet must have a group that is a number or a text; received who binary; name another column by --group-c",
    ),
    "a column twice": (
        lambda at: pq.write_table(pa.table([[b"x"], [1], [1]], ["image", "label", "label"]), at), TO_BE_FOUND,
        "x.parquet must have each column once; received label twice; write it anew",
    ),
    "no columns": (
        write, TO_BE_FOUND, "x.parquet must have a column with images, as bytes or paths; received the ",
    ),
    "no rows": (
        lambda at: write(at, image=pa.array([], pa.binary()), label=pa.array([], pa.int8())), TO_BE_FOUND,
        "{} must have rows that can be used; received none: it has no rows; mend it, or --from another",
    ),
    "a column that is not there": (
        lambda at: write(at, image=[b"x"], label=[1]), Columns(group="patient"),
        "x.parquet must have the column patient, as --group-column says; received the columns image, label; name one ",
    ),
    "pixels without a shape": (
        lambda at: write(at, image=pa.array([b"xyz"], pa.binary(3)), label=[1]), TO_BE_FOUND,
        "x.parquet must have an image_shape [H, W, C] of 3 bytes in its metadata, as its images are pixels; received "
        "none that can be read; write it anew",
    ),
    "pixels of another shape": (
        lambda at: write(at, {"image_shape": "[2, 2, 1]"}, image=pa.array([b"xyz"], pa.binary(3)), label=[1]),
        TO_BE_FOUND,
        "x.parquet must have an image_shape [H, W, C] of 3 bytes in its metadata, as its images are pixels; received "
        "image_shape (2, 2, 1); write it anew",
    ),
    "another split": (
        lambda at: write(at, image=[b"x"], label=[1], split=["fold1"]), TO_BE_FOUND,
        "x.parquet must have train, validation or test in its column split; received 'fold1'; correct it, or rename ",
    ),
    "images as labels": (
        lambda at: write(at, image=[b"x"], label=[1]), Columns(label="image"),
        "x.parquet must have a label that is a number or a text; received image binary; name another column by --label",
    ),
    "splits as lists": (
        lambda at: write(at, image=[b"x"], label=[1], split=[["train"]]), TO_BE_FOUND,
        "x.parquet must have train, validation or test in its column split; received list<",
    ),
    "splits as structs": (
        lambda at: write(at, image=[b"x"], label=[1], split=[{"name": "train"}]), TO_BE_FOUND,
        "x.parquet must have train, validation or test in its column split; received struct<name: string>; correct",
    ),
    "splits of a list's paths as lists": (
        lambda at: write(at, image=["1.jpg"], label=[1], split=[["train"]]), TO_BE_FOUND,
        "x.parquet must have train, validation or test in its column split; received list<",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_file_without_images_and_labels_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    make, columns, says = WRONG[name]
    make(tmp_path / "x.parquet")
    assert refusal(tmp_path / "x.parquet", columns).startswith(says.format(tmp_path / "x.parquet"))


def test_files_that_differ_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "own/a.parquet", image=[b"x"], label=["a"])
    write(tmp_path / "own/b.parquet", features(label=CLASS), image=[b"x"], label=[1])
    assert refusal(tmp_path / "own") == (
        "all Parquet files of a source must have the same columns; b.parquet has ('cat', 'dog') for class names, "
        "a.parquet has None; name a folder with files of one kind"
    )
