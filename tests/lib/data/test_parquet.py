"""Images in Parquet, as we and others read them."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.data import parquet
from lib.data.datasets import DatasetSpec, SplitDigests
from lib.data.parquet import read_images, write_images
from lib.data.parsers import SourceSplit

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
LABELS = np.array([0, 1, 1, 0, 1, 0, 0], np.uint8)
COARSE = np.array([5, 6, 6, 5, 6, 5, 5], np.uint8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_images(tmp_path / "toy.parquet", SPEC, SourceSplit(IMAGES, LABELS, COARSE))
    return tmp_path / "toy.parquet"


def test_what_is_written_is_read_back(file: Path) -> None:
    table = read_images(file)
    assert table.images.dtype == np.uint8
    assert np.array_equal(table.images, IMAGES)
    assert table.labels.dtype == np.int16
    assert table.labels.tolist() == [0, 1, 1, 0, 1, 0, 0]
    assert table.coarse_labels is not None
    assert table.coarse_labels.dtype == np.int16
    assert table.coarse_labels.tolist() == [5, 6, 6, 5, 6, 5, 5]
    assert table.missing == {"image": 0, "label": 0, "coarse_label": 0, "index": 0}


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


def test_images_in_another_memory_order_are_written_as_they_look(tmp_path: Path) -> None:
    planar = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))
    write_images(tmp_path / "planar.parquet", SPEC, SourceSplit(planar.transpose(0, 2, 3, 1), LABELS))
    assert np.array_equal(read_images(tmp_path / "planar.parquet").images, IMAGES)


def test_nulls_are_counted_by_column(file: Path, tmp_path: Path) -> None:
    table = pq.read_table(file)
    holed = table.set_column(1, "label", pa.array([0, None, 1, 0, None, 0, 0], pa.int16()))
    pq.write_table(holed.replace_schema_metadata(table.schema.metadata), tmp_path / "holed.parquet")
    assert read_images(tmp_path / "holed.parquet").missing == {"image": 0, "label": 2, "coarse_label": 0, "index": 0}


def test_duckdb_reads_the_right_pixel(file: Path) -> None:
    (image, label) = duckdb.sql(f"select image, label from '{file}' where index = 2").fetchall()[0]
    # Row 2, y 1, x 0, channel 2: byte 1·9 + 0·3 + 2 = 11 of the image, whose bytes begin at 36.
    assert (image[11], label) == (47, 1)


def test_pandas_reads_the_right_pixel(file: Path) -> None:
    frame = pd.read_parquet(file)
    assert frame["image"][2][11] == 47
    assert frame["label"].tolist() == [0, 1, 1, 0, 1, 0, 0]
