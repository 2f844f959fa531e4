"""Images in Parquet: as Hugging Face writes them, as other tools do, and as this project does."""

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.data.parquet import write_images
from lib.data.parsers import SourceSplit
from lib.errors import TooLarge
from lib.images import image_tables
from lib.images.layouts import Columns, find_layout
from lib.images.source_images import TO_BE_FOUND
from lib.images.sources import open_source
from tests.lib.data.test_parquet import COARSE, IMAGES, LABELS, SPEC
from tests.s3_server import S3Server

from .test_layouts import layout_of, refusal, rows_of

BYTES = [b"one", b"two", b"three"]
NAMES = ["cat", "dog"]


def features(**columns: object) -> dict[str, str]:
    """Hugging Face's metadata."""
    return {"huggingface": json.dumps({"info": {"features": columns}})}


CLASS = {"names": NAMES, "_type": "ClassLabel"}


def structs(*images: bytes | None) -> pa.Array:
    return pa.array([{"bytes": image, "path": f"{row}.jpg"} for row, image in enumerate(images)])


def write(path: Path, metadata: dict[str, str] | None = None, /, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    return path


READ: dict[str, tuple[dict[str, Any], dict[str, str] | None, Columns, list[str], str]] = {
    "Hugging Face": (
        {"image": structs(*BYTES), "label": [1, 0, 1]}, features(image={"_type": "Image"}, label=CLASS), TO_BE_FOUND,
        ["dog", "cat", "dog"], "Parquet: 1 file, 3 rows, 2 classes; columns image and label",
    ),
    "Hugging Face with other names": (
        {"photo": structs(*BYTES), "kind": [1, 0, 1], "id": [7, 8, 9]},
        features(photo={"_type": "Image"}, kind=CLASS, id={"_type": "Value"}), TO_BE_FOUND,
        ["dog", "cat", "dog"], "Parquet: 1 file, 3 rows, 2 classes; columns photo and kind",
    ),
    "numbers without names": (
        {"image": BYTES, "label": [1, 10, 2]}, None, TO_BE_FOUND,
        ["1", "10", "2"], "Parquet: 1 file, 3 rows; columns image and label",
    ),
    "text": ({"image": BYTES, "class": ["a", "b", " a "]}, None, TO_BE_FOUND, ["a", "b", "a"],
             "Parquet: 1 file, 3 rows; columns image and class"),
    "text as a Mac writes it": (
        {"image": BYTES, "label": ["caf\u00e9", "cafe\u0301", "b"]}, None, TO_BE_FOUND,
        ["caf\u00e9", "caf\u00e9", "b"], "Parquet: 1 file, 3 rows; columns image and label",
    ),
    "a dictionary": (
        {"img": pa.array(BYTES, pa.large_binary()), "label": pa.array(["a", "b", "a"]).dictionary_encode()}, None,
        TO_BE_FOUND, ["a", "b", "a"], "Parquet: 1 file, 3 rows; columns img and label",
    ),
    "numbers of pandas": (
        {"image": BYTES, "label": [1.0, 2.0, 0.0]}, None, TO_BE_FOUND,
        ["1", "2", "0"], "Parquet: 1 file, 3 rows; columns image and label",
    ),
    "a path beside the bytes": (
        {"path": ["x", "y", "z"], "image": BYTES, "label": list("aba")}, None, TO_BE_FOUND,
        ["a", "b", "a"], "Parquet: 1 file, 3 rows; columns image and label",
    ),
    "columns that were named": (
        {"image": [b"x"] * 3, "content": BYTES, "label": [0, 0, 0], "kind": list("aba")}, None,
        Columns("content", "kind"), ["a", "b", "a"], "Parquet: 1 file, 3 rows; columns content and kind",
    ),
    "metadata that cannot be read": (
        {"image": BYTES, "label": [1, 0, 1]}, {"huggingface": "[" * 100_000}, TO_BE_FOUND,
        ["1", "0", "1"], "Parquet: 1 file, 3 rows; columns image and label",
    ),
    "metadata of another kind": (
        {"image": BYTES, "label": [1, 0, 1]}, {"huggingface": '{"info": {"features": [1]}}'}, TO_BE_FOUND,
        ["1", "0", "1"], "Parquet: 1 file, 3 rows; columns image and label",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_images_and_labels_are_read(tmp_path: Path, name: str) -> None:
    columns, metadata, wanted, labels, description = READ[name]
    layout = layout_of(write(tmp_path / "x.parquet", metadata, **columns), wanted)
    images = list(layout.images())
    assert (layout.description, layout.splits_given, layout.refused) == (description, False, [])
    assert [each.label for each in images] == labels
    assert [each.read() for each in images] == BYTES
    assert [each.place for each in images] == ["x.parquet:row 0", "x.parquet:row 1", "x.parquet:row 2"]
    assert {(each.split, each.group, each.pixels) for each in images} == {(None, None, None)}


def test_our_own_tables_are_pixels_with_the_names_of_classes(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / "own").mkdir(exist_ok=True)
        write_images(tmp_path / f"own/{split}.parquet", SPEC, SourceSplit(IMAGES, LABELS, COARSE % 1))
    layout = layout_of(tmp_path / "own")
    images = list(layout.images())
    assert layout.description == (
        "Parquet: 2 files, 14 rows, 2 classes; columns image and label; pixels of 2 × 3 × 3; train 7, test 7"
    )
    assert [each.label for each in images[:7]] == ["cat", "dog", "dog", "cat", "dog", "cat", "cat"]
    assert [each.split for each in images] == ["test"] * 7 + ["train"] * 7
    assert images[9].pixels is not None
    assert np.array_equal(images[9].pixels, IMAGES[2])
    assert (images[9].place, images[9].read()) == ("train.parquet:row 2", bytes(range(36, 54)))
    coarse = layout_of(tmp_path / "own", Columns(label="coarse_label"))
    assert {each.label for each in coarse.images()} == {"animal"}


def test_classes_keep_the_order_in_which_a_table_numbers_them(tmp_path: Path) -> None:
    kind = {"names": [" zebra", "ape"], "_type": "ClassLabel"}
    with_images = write(tmp_path / "x.parquet", features(label=kind), image=structs(b"x", b"y"), label=[1, 0])
    assert layout_of(with_images).class_names == ("zebra", "ape")
    with_paths = write(tmp_path / "y.parquet", features(label=kind), path=["1.jpg", "2.jpg"], label=[1, 0])
    assert layout_of(with_paths).class_names == ("zebra", "ape")
    assert layout_of(write(tmp_path / "z.parquet", image=structs(b"x", b"y"), label=[1, 0])).class_names == ()


PLACES: dict[str, tuple[str, list[str | None]]] = {
    "shards": ("test-00000-of-00001.parquet train-00000-of-00002.parquet train-00001-of-00002.parquet",
               ["test", "train", "train"]),
    "a folder of shards": ("data/train-0.parquet data/validation-0.parquet", ["train", "validation"]),
    "folders of splits": ("default/test/0000.parquet default/train/0000.parquet", ["test", "train"]),
    "words in names": ("flowers_train.parquet flowers_val.parquet", ["train", "validation"]),
    "one split alone": ("train-0.parquet train-1.parquet", [None, None]),
    "parts": ("part-0.parquet part-1.parquet", [None, None]),
    "no words": ("latest.parquet training2.parquet", []),
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_names_of_files_say_splits(tmp_path: Path, name: str) -> None:
    files, splits = PLACES[name]
    for file in files.split():
        write(tmp_path / "own" / file, image=[b"x"], label=["a"])
    if not splits:
        assert refusal(tmp_path / "own") == (
            "either all Parquet files or none must have train, validation or test in their names; latest.parquet has "
            "none; rename it, or name a folder without it"
        )
        return
    layout = layout_of(tmp_path / "own")
    assert rows_of(layout) == [(f"{file}:row 0", "a", split) for file, split in zip(files.split(), splits, strict=True)]


def test_a_column_says_splits_and_another_groups(tmp_path: Path) -> None:
    columns = {"split": ["train", "eval", None, "dev"], "patient": [7, 8, 9, None]}
    file = write(tmp_path / "x.parquet", image=[b"x"] * 4, label=list("abab"), **columns)
    layout = layout_of(file, Columns(group="patient"))
    assert layout.splits_given
    assert [(each.split, each.group) for each in layout.images()] == [
        ("train", "7"), ("test", "8"), ("validation", None),
    ]  # fmt: skip
    assert layout.refused == [("x.parquet:row 2", "no split")]
    assert layout.description.endswith("; train 1, validation 1, test 1")


MIXED: dict[str, tuple[Any, Any, dict[str, str] | None, str]] = {
    "no image": (pa.array([b"x", None]), ["a", "b"], None, "no bytes of an image"),
    "no bytes": (pa.array([b"x", b""]), ["a", "b"], None, "no bytes of an image"),
    "no struct": (pa.array([{"bytes": b"x"}, None]), ["a", "b"], None, "no bytes of an image"),
    "a path alone": (structs(b"x", None), ["a", "b"], None, "no bytes of an image"),
    "no label": ([b"x", b"y"], ["a", None], None, "no label"),
    "a blank label": ([b"x", b"y"], ["a", " "], None, "no label"),
    "no number": ([b"x", b"y"], [0.0, float("nan")], None, "no label"),
    "a fraction": ([b"x", b"y"], [0.0, 0.5], None, "0.5 where a text or a whole number must stand"),
    "Hugging Face's number of no label": ([b"x", b"y"], [0, -1], features(label=CLASS), "no label"),
    "a number that is no class": ([b"x", b"y"], [0, 2], features(label=CLASS), "label 2 of 2 classes"),
    "a negative number": ([b"x", b"y"], [0, -2], features(label=CLASS), "label -2 of 2 classes"),
}


@pytest.mark.parametrize("name", MIXED)
def test_a_row_that_cannot_be_used_is_refused_alone_each_time(tmp_path: Path, name: str) -> None:
    image, label, metadata, reason = MIXED[name]
    layout = layout_of(write(tmp_path / "x.parquet", metadata, image=image, label=label))
    for _ in range(2):
        assert [each.place for each in layout.images()] == ["x.parquet:row 0"]
        assert layout.refused == [("x.parquet:row 1", reason)]


def test_an_image_has_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_tables, "LARGEST_IMAGE_BYTES", 3)
    images = list(layout_of(write(tmp_path / "x.parquet", image=BYTES, label=list("aba"))).images())
    assert images[1].read() == b"two"
    with pytest.raises(TooLarge, match=r"^x\.parquet:row 2 must have at most 3 bytes; received 5; make it smaller$"):
        images[2].read()


def test_memory_stays_flat_however_large_a_table_is(tmp_path: Path) -> None:
    image = np.random.default_rng(0).bytes(1 << 20)
    table = pa.table({"image": [image] * 25, "label": ["a"] * 25})
    with pq.ParquetWriter(tmp_path / "x.parquet", table.schema, use_dictionary=False) as writer:
        for _ in range(4):
            writer.write_table(table)
    layout = layout_of(tmp_path / "x.parquet")
    del table
    before, most = pa.total_allocated_bytes(), 0
    for each in layout.images():
        assert len(each.read()) == 1 << 20
        most = max(most, pa.total_allocated_bytes())
    assert most - before < 50 << 20


@pytest.mark.parametrize("below", ["", "/train-0.parquet"])
def test_tables_in_a_bucket_are_read_by_local_copies(s3_environment: S3Server, tmp_path: Path, below: str) -> None:
    folder, client = uuid.uuid4().hex, s3_environment.client()
    for split in ("train", "test"):
        file = write(tmp_path / "x.parquet", features(label=CLASS), image=structs(split.encode()), label=[1])
        client.put_object(Bucket=s3_environment.bucket, Key=f"{folder}/{split}-0.parquet", Body=file.read_bytes())
    layout = find_layout(open_source(f"s3://{s3_environment.bucket}/{folder}{below}", tmp_path / "cache"))
    found = [(each.place, each.label, each.split, each.read()) for each in layout.images()]
    if below:
        assert found == [("train-0.parquet:row 0", "dog", None, b"train")]
    else:
        assert found == [
            ("test-0.parquet:row 0", "dog", "test", b"test"),
            ("train-0.parquet:row 0", "dog", "train", b"train"),
        ]
