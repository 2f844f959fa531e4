"""What of a dataset is refused before it is prepared, by what name."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.data.datasets import DatasetSpec, dataset_address
from lib.data.parquet import ImageFile, write_images
from lib.data.parsers import SourceSplit
from lib.data.prepare import check_pictures, check_table, look, prepare
from lib.errors import PermanentError
from lib.lineage.manifests import commit, put_file
from lib.store import LocalStore
from tests.whole import whole_manifest

from .tables import ImageTable
from .test_prepare import SPEC, toy


def table(**changes: np.ndarray | dict[str, int]) -> ImageTable:
    data = toy("train")
    fields = {"images": data.images, "labels": data.labels.astype(np.int16), "coarse_labels": None, "missing": {}}
    return ImageTable(**{**fields, **changes})


def check(spec: DatasetSpec, split: str, table: ImageTable, folder: Path) -> None:
    """All that is checked of a file, where it has these images and table."""
    check_table(spec, split, table, table.images.shape[1:])
    write_images(folder / "checked.parquet", spec, SourceSplit(table.images, table.labels))
    check_pictures(spec, split, look(ImageFile(folder / "checked.parquet")).blank)


def test_data_that_keep_the_rules_pass(tmp_path: Path) -> None:
    check(SPEC, "train", table(), tmp_path)


def labels_with(changes: dict[int, int]) -> np.ndarray:
    labels = (np.arange(90) % 3).astype(np.int16)
    labels[list(changes)] = list(changes.values())
    return labels


def images_blank_at(rows: list[int]) -> np.ndarray:
    images = toy("train").images.copy()
    images[rows] = 200
    return images


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"images": toy("train").images[:89], "labels": labels_with({})[:89]},
            "toy: train must have 90 rows; received 89",
        ),
        (
            {"images": toy("train").images.reshape(90, 2, 8, 1)},
            "toy: train must have images of (4, 4, 1); received (2, 8, 1)",
        ),
        ({"missing": {"image": 0, "label": 2}}, "toy: train must have no missing values; received 2"),
        (
            {"labels": labels_with({5: 3, 80: -1})},
            "toy: train must have labels from 0 to 2; rows 5, 80 have 3, -1",
        ),
        (
            {"labels": labels_with(dict.fromkeys(range(10, 17), 9))},
            "toy: train must have labels from 0 to 2; rows 10, 11, 12, 13, 14, … have 9, 9, 9, 9, 9, …",
        ),
        (
            {"labels": labels_with({row: row % 2 for row in range(90)})},
            "toy: train must have every class; none of eel",
        ),
        (
            {"labels": labels_with({0: 1})},
            "toy: train must have classes within a factor of 1.0; received 29 to 31 rows a class",
        ),
        ({"images": images_blank_at([8, 3])}, "toy: train must have pictures; rows 3, 8 are of one value throughout"),
    ],
    ids=["rows", "shape", "nulls", "labels", "many labels", "class", "balance", "blank"],
)
@pytest.mark.usefixtures("groups")
def test_a_broken_rule_is_named_with_what_came(changes: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    with pytest.raises(PermanentError) as caught:
        check(SPEC, "train", table(**changes), tmp_path)
    assert str(caught.value) == message


def test_an_imbalance_that_the_spec_allows_passes(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"max_imbalance": 1.07})  # 31 / 29
    check(spec, "train", table(labels=labels_with({0: 1})), tmp_path)


def test_images_that_are_missing_are_counted_before_any_is_read(tmp_path: Path) -> None:
    store, address, files = LocalStore(tmp_path / "store"), dataset_address(SPEC), {}
    for split in SPEC.rows:
        path = tmp_path / f"{split}.parquet"
        write_images(path, SPEC, toy(split))
        if split == "train":
            table = pq.read_table(path)
            images = [None if row in {3, 50} else image for row, image in enumerate(table["image"].to_pylist())]
            table = table.set_column(0, "image", pa.array(images, pa.binary(16)))
            pq.write_table(table.replace_schema_metadata(pq.read_schema(path).metadata), path)
        files[str(split)] = put_file(store, address, path.name, path)
    facts = {"rows": {"train": 90, "test": 30}}
    dataset = commit(store, address, whole_manifest("dataset", address, files=files, facts=facts))
    with pytest.raises(PermanentError, match=r"^toy: train must have no missing values; received 2$"):
        prepare(SPEC, store, dataset, None)
