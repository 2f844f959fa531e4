"""One's own images on their way from shards to tables: a group of rows at a time, and as if all were in memory."""

import hashlib
from pathlib import Path

import pytest

from lib.data.ingest import OF_ONES_OWN, ingest
from lib.data.own import find_dataset, record
from lib.errors import PermanentError
from lib.images.shards import Found, Row, write_shards
from lib.lineage.manifests import Ref, commit, load, local_file, put_file
from lib.store import LocalStore
from tests.lib.images.encoded_images import grey_png
from tests.whole import whole_manifest

from .own_images import source
from .publisher import quiet
from .tables import read_images

SIDES = ("train", "validation", "train", "test", "validation", "train", "test", "train")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def collected(store: LocalStore, folder: Path, broken: int | None = None) -> Ref:
    """An image for each of SIDES, of the grey of its row, and of class 1 where that is odd; as a dataset of 8 px."""
    rows = (
        Row(b"none" if row == broken else grey_png(row), f"{row}.png", row % 2, side, None, Found("", "", 1, ()))
        for row, side in enumerate(SIDES)
    )
    address = "images/colours/0123456789abcdef"
    files = {path.stem: put_file(store, address, path.name, path) for path in write_shards(folder, rows, ["a", "b"])}
    counts = {split: SIDES.count(split) for split in ("train", "validation", "test")}
    facts = {"dataset": "colours", "rows": counts, "channels": 1, "class_names": ["a", "b"]}
    images = commit(store, address, whole_manifest("images", address, files=files, facts=facts))
    record(store, source(folder, px=8), images)
    return images


def sha256(*values: int) -> str:
    return hashlib.sha256(bytes(values)).hexdigest()


@pytest.mark.parametrize("group_rows", [1, 4, 5_000])
def test_rows_of_train_come_before_those_of_validation_and_digests_are_of_all_bytes(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group_rows: int
) -> None:
    monkeypatch.setattr("lib.data.parquet.ROW_GROUP_ROWS", group_rows)
    collected(store, tmp_path)
    dataset = load(store, ingest(find_dataset("colours", store), store, None, quiet))
    tables = {split: read_images(local_file(store, dataset, split)) for split in ("train", "test")}
    assert {split: table.images[:, 0, 0, 0].tolist() for split, table in tables.items()} == {
        "train": [0, 2, 5, 7, 1, 4], "test": [3, 6],
    }  # fmt: skip
    assert {split: table.labels.tolist() for split, table in tables.items()} == {
        "train": [0, 0, 1, 1, 1, 0], "test": [1, 0],
    }  # fmt: skip
    assert dataset.content == {
        "train-images": sha256(*(value for value in (0, 2, 5, 7, 1, 4) for _ in range(64))),
        "train-labels": sha256(0, 0, 1, 1, 1, 0),
        "test-images": sha256(*[3] * 64, *[6] * 64),
        "test-labels": sha256(1, 0),
    }


def test_an_image_that_proves_unreadable_as_it_is_written_is_named_with_what_to_do(
    store: LocalStore, tmp_path: Path
) -> None:
    collected(store, tmp_path, broken=6)
    with pytest.raises(PermanentError, match=r"^6\.png could be read when it was collected: ") as caught:
        ingest(find_dataset("colours", store), store, None, quiet)
    assert str(caught.value).endswith(f"; {OF_ONES_OWN}")
    assert not [path for path in store.list("datasets") if path.endswith("manifest.json")]
