"""Images in Parquet, as we and others read them."""

import hashlib
import json
import os
from collections.abc import Callable, Generator
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.data import parquet
from lib.data.datasets import DatasetSpec, SplitDigests
from lib.data.parquet import ImageFile, copy_images, write_images
from lib.data.parsers import SourceSplit, StreamedSplit
from lib.errors import PermanentError

from .tables import read_images

SPEC = DatasetSpec(
    name="toy",
    title="Toy",
    format="toy",
    image_shape=(2, 3, 3),
    rows={"train": 7, "test": 7},
    class_names=("cat", "dog"),
    superclass_names=("animal",),
    digests={"train": SplitDigests(images="", labels=""), "test": SplitDigests(images="", labels="")},
    validation_rows=2,
    source="https://example.org/toy",
    licence="CC0",
    citation="Nobody, Toys, 2020",
)
# The image at row r has the 18 bytes 18r, 18r+1, …, 18r+17.
IMAGES = np.arange(7 * 18, dtype=np.uint8).reshape(7, 2, 3, 3)
LABELS = np.array([0, 1, 1, 0, 1, 0, 0], np.int32)
COARSE = np.array([5, 6, 6, 5, 6, 5, 5], np.int32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_images(tmp_path / "toy.parquet", SPEC, SourceSplit(IMAGES, LABELS, COARSE))
    return tmp_path / "toy.parquet"


def test_what_is_written_is_read_back(file: Path) -> None:
    table = read_images(file)
    assert table.images.dtype == np.uint8
    assert np.array_equal(table.images, IMAGES)
    assert table.labels.dtype == np.int32
    assert table.labels.tolist() == [0, 1, 1, 0, 1, 0, 0]
    assert table.coarse_labels is not None
    assert table.coarse_labels.dtype == np.int32
    assert table.coarse_labels.tolist() == [5, 6, 6, 5, 6, 5, 5]
    assert table.missing == {"image": 0, "label": 0, "coarse_label": 0, "index": 0}


def test_a_file_that_is_open_gives_its_images_a_group_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 3 * 18 + 17)
    write_images(tmp_path / "groups.parquet", SPEC, SourceSplit(IMAGES, LABELS))
    found = ImageFile(tmp_path / "groups.parquet")
    assert found.image_shape == (2, 3, 3)
    assert found.starts.tolist() == [0, 3, 6, 7]
    assert found.table.labels.tolist() == LABELS.tolist()
    for group in (2, 0, 1):
        assert np.array_equal(found.read(group), IMAGES[3 * group : 3 * group + 3])


def test_columns_have_the_types_that_are_promised(file: Path) -> None:
    schema = pq.read_schema(file)
    assert {field.name: str(field.type) for field in schema} == {
        "image": "fixed_size_binary[18]",
        "label": "int16",
        "coarse_label": "int16",
        "index": "int32",
    }
    assert pq.read_table(file, columns=["index"])["index"].to_pylist() == [0, 1, 2, 3, 4, 5, 6]


def test_a_data_set_without_superclasses_has_no_column_for_them(tmp_path: Path) -> None:
    write_images(tmp_path / "plain.parquet", SPEC, SourceSplit(IMAGES, LABELS))
    assert pq.read_schema(tmp_path / "plain.parquet").names == ["image", "label", "index"]
    assert read_images(tmp_path / "plain.parquet").coarse_labels is None


def test_the_schema_says_what_the_data_set_is(file: Path) -> None:
    metadata = {key.decode(): value.decode() for key, value in pq.read_schema(file).metadata.items()}
    assert json.loads(metadata["image_shape"]) == [2, 3, 3]
    assert json.loads(metadata["class_names"]) == ["cat", "dog"]
    assert json.loads(metadata["superclass_names"]) == ["animal"]
    texts = {name: metadata[name] for name in ("dataset", "licence", "citation", "source")}
    assert texts == {
        "dataset": "toy",
        "licence": "CC0",
        "citation": "Nobody, Toys, 2020",
        "source": "https://example.org/toy",
    }


def test_several_row_groups_are_read_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 3)
    write_images(tmp_path / "groups.parquet", SPEC, SourceSplit(IMAGES, LABELS, COARSE))
    assert pq.ParquetFile(tmp_path / "groups.parquet").metadata.num_row_groups == 3  # 3 + 3 + 1 rows
    table = read_images(tmp_path / "groups.parquet")
    assert np.array_equal(table.images, IMAGES)
    assert table.labels.tolist() == [0, 1, 1, 0, 1, 0, 0]


def test_images_that_come_one_by_one_make_the_very_file_and_digests_of_those_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 3)
    given = 0

    def read() -> Generator[np.ndarray, None, None]:
        nonlocal given
        for image in IMAGES:
            given += 1
            yield image

    whole, streamed = SourceSplit(IMAGES, LABELS, COARSE), StreamedSplit(read, LABELS, COARSE)
    blocks = streamed.blocks(3)
    assert np.array_equal(next(blocks), IMAGES[:3])
    assert given == 3, "no more than a block is in memory"
    blocks.close()
    written = [write_images(tmp_path / f"{n}.parquet", SPEC, split) for n, split in enumerate((whole, streamed))]
    assert written == [hashlib.sha256(bytes(range(126))).hexdigest()] * 2
    assert (tmp_path / "0.parquet").read_bytes() == (tmp_path / "1.parquet").read_bytes()
    assert streamed.digests() == streamed.digests(written[1]) == whole.digests()


def test_images_in_another_memory_order_are_written_as_they_look(tmp_path: Path) -> None:
    planar = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))
    write_images(tmp_path / "planar.parquet", SPEC, SourceSplit(planar.transpose(0, 2, 3, 1), LABELS))
    assert np.array_equal(read_images(tmp_path / "planar.parquet").images, IMAGES)


def test_nulls_are_counted_by_column(file: Path, tmp_path: Path) -> None:
    table = pq.read_table(file)
    holed = table.set_column(1, "label", pa.array([0, None, 1, 0, None, 0, 0], pa.int16()))
    pq.write_table(holed.replace_schema_metadata(table.schema.metadata), tmp_path / "holed.parquet")
    found = read_images(tmp_path / "holed.parquet")
    assert found.missing == {"image": 0, "label": 2, "coarse_label": 0, "index": 0}
    assert found.labels.tolist() == [0, -1, 1, 0, -1, 0, 0]


@pytest.mark.parametrize("label", [299, 1_999, 32_767, 32_768, 2**31 - 1])
def test_labels_of_many_classes_are_read_back_as_they_were(tmp_path: Path, label: int) -> None:
    labels = np.array([0, 43, 255, 256, label, 0, 0], np.int32)
    write_images(tmp_path / "many.parquet", SPEC, SourceSplit(IMAGES, labels, labels[::-1]))
    found = read_images(tmp_path / "many.parquet")
    assert found.labels.tolist() == [0, 43, 255, 256, label, 0, 0]
    assert found.coarse_labels is not None
    assert found.coarse_labels.tolist() == [0, 0, label, 256, 255, 43, 0]


def changed(path: Path, **columns: pa.Array | None) -> None:
    """The same table with other columns; None: without."""
    table = pq.read_table(path)
    metadata = table.schema.metadata
    for name, column in columns.items():
        place = table.schema.get_field_index(name)
        table = table.drop_columns([name])
        table = table if column is None else table.add_column(place, name, column)
    pq.write_table(table.replace_schema_metadata(metadata), path)


def described(path: Path, **metadata: str | None) -> None:
    """The same table with other metadata; None: without."""
    table = pq.read_table(path)
    kept = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()} | metadata
    pq.write_table(table.replace_schema_metadata({k: v for k, v in kept.items() if v is not None}), path)


def bomb(path: Path) -> None:
    """100 million pixels in a few kilobytes."""
    rows = 5_000_000
    columns = {"image": pa.array([bytes(18)] * 50_000, pa.binary(18)), "label": pa.array([0] * 50_000, pa.int16())}
    table = pa.table({**columns, "index": pa.array(range(50_000), pa.int32())})
    metadata = {"image_shape": "[2, 3, 3]"}
    table = pa.concat_tables([table.replace_schema_metadata(metadata)] * (rows // 50_000))
    pq.write_table(table, path, compression="zstd")


def widened(path: Path) -> None:
    """The same table with another column."""
    table = pq.read_table(path)
    pq.write_table(table.append_column("more", table["index"]), path)


def regrouped(path: Path) -> None:
    """The same table with row groups of nothing."""
    table = pq.read_table(path)
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(8):
            writer.write_table(table.slice(0, 0))
        writer.write_table(table)


def in_place(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "not there": (lambda path: path.unlink(), "no file"),
    "a pipe": (lambda path: in_place(path, os.mkfifo), "no file"),
    "a folder": (lambda path: in_place(path, Path.mkdir), "no file"),
    "empty": (lambda path: path.write_bytes(b""), "Parquet file size is 0 bytes"),
    "garbage": (lambda path: path.write_bytes(b"PAR1" + b"rot" * 1_000 + b"PAR1"), ""),
    "an HTML page": (lambda path: path.write_text("<html>" * 100), "Parquet magic bytes not found"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "Parquet magic bytes not found"),
    "a damaged footer": (lambda path: path.write_bytes(path.read_bytes()[:-8] + b"\xff\xff\xff\x7fPAR1"), ""),
    "no metadata": (lambda path: described(path, image_shape=None), "b'image_shape'"),
    "another shape": (lambda path: described(path, image_shape="[3, 3, 3]"), "image fixed_size_binary[18]"),
    "a shape of nothing": (lambda path: described(path, image_shape="[0, 3, 3]"), "image_shape [0, 3, 3]"),
    "a negative shape": (lambda path: described(path, image_shape="[-2, -3, 3]"), "image_shape [-2, -3, 3]"),
    "a shape of fractions": (lambda path: described(path, image_shape="[2.0, 3, 3]"), "image_shape [2.0, 3, 3]"),
    "a shape without numbers": (lambda path: described(path, image_shape='["2", 3, 3]'), "image_shape ['2', 3, 3]"),
    "a shape of two sides": (lambda path: described(path, image_shape="[6, 3]"), "not enough values to unpack"),
    "a vast shape": (lambda path: described(path, image_shape=f"[{10**12}, 3, 3]"), "image_shape [1000000000000"),
    "a shape nested deeply": (lambda path: described(path, image_shape="[" * 100_000), "maximum recursion depth"),
    "a shape that is no JSON": (lambda path: described(path, image_shape="2 by 3"), "Extra data"),
    "no labels": (lambda path: changed(path, label=None), "'label'"),
    "no index": (lambda path: changed(path, index=None), "'index'"),
    "no images": (lambda path: changed(path, image=None), "'image'"),
    "labels as text": (lambda path: changed(path, label=pa.array(list("0110100"))), "columns "),
    "labels as fractions": (lambda path: changed(path, label=pa.array([0.5] * 7)), "columns "),
    "labels beyond 32 bits": (lambda path: changed(path, label=pa.array([2**40] * 7)), "Integer value 1099511627776"),
    "images of any width": (lambda path: changed(path, image=pa.array([b"x"] * 7)), "image binary"),
    "images of another width": (lambda path: changed(path, image=pa.array([b"x"] * 7, pa.binary(1))), "columns "),
    "rows in another order": (lambda path: changed(path, index=pa.array([0, 2, 1, 3, 4, 5, 6])), "an index that"),
    "no rows": (lambda path: pq.write_table(pq.read_table(path).slice(0, 0), path), "0 rows of 18 bytes in"),
    "another column": (widened, "index int32, more int32"),
    "groups of nothing": (regrouped, "7 rows in 9 groups"),
    "a bomb": (bomb, "5,000,000 rows of 18 bytes in "),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_table_that_is_not_as_it_was_written_is_refused_by_name(file: Path, name: str) -> None:
    change, says = HOSTILE[name]
    change(file)
    for read in (lambda path: copy_images(path, []), lambda path: ImageFile(path).read(0)):
        with pytest.raises(PermanentError) as caught:
            read(file)
        said = str(caught.value)
        assert said.startswith("toy.parquet must be a whole table of images; received ")
        assert says in said
        assert said.endswith("; it was changed after it was written: remove it and its manifest, and run again")
        assert "\n" not in said
        assert len(said) < 600


def test_duckdb_reads_the_right_pixel(file: Path) -> None:
    (image, label) = duckdb.sql(f"select image, label from '{file}' where index = 2").fetchall()[0]
    # Row 2, y 1, x 0, channel 2: byte 1·9 + 0·3 + 2 = 11 of the image, whose bytes begin at 36.
    assert (image[11], label) == (47, 1)


def test_pandas_reads_the_right_pixel(file: Path) -> None:
    frame = pd.read_parquet(file)
    assert frame["image"][2][11] == 47
    assert frame["label"].tolist() == [0, 1, 1, 0, 1, 0, 0]
