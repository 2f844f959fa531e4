"""Datasets of more classes than a byte holds."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from lib.data.datasets import DATASETS, DatasetSpec, SplitDigests
from lib.data.ingest import ingest
from lib.data.parsers import SourceSplit, decode, digest_labels
from lib.data.prepare import prepare
from lib.data.rows import read_rows
from lib.data.upstream import UpstreamFile
from lib.lineage.manifests import load
from lib.lineage.steps import SPLITS
from lib.lineage.verify import verify
from lib.store import LocalStore

from .test_parsers import IDX, LABELS, idx_files, sha256
from .test_prepare import SPEC


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def write_idx(path: Path, array: np.ndarray, code: int) -> None:
    header = bytes((0, 0, code, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), 1))


def many_classes(classes: int, folder: Path) -> tuple[DatasetSpec, dict[str, np.ndarray]]:
    """A dataset of so many classes with two training rows and one test row each, its files in `folder`."""
    random, labels = np.random.default_rng(0), {"train": np.arange(2 * classes) % classes, "test": np.arange(classes)}
    digests, files = {}, []
    for split, values in labels.items():
        images = random.integers(0, 256, (len(values), 4, 4, 1), np.uint8)
        write_idx(folder / f"{split}-images.gz", images[..., 0], 0x08)
        write_idx(folder / f"{split}-labels.gz", values.astype(">i2"), 0x0B)
        digests[split] = SplitDigests.model_validate(SourceSplit(images, values).digests())
        for what in ("images", "labels"):
            url = f"https://host/{split}-{what}.gz"
            files.append(UpstreamFile(role=f"{split}-{what}", url=url, max_bytes=1_000_000))
    fields = {"name": "many", "format": "idx", "class_names": tuple(f"class {n}" for n in range(classes))}
    rows = {"train": 2 * classes, "test": classes}
    more = {"files": tuple(files), "rows": rows, "digests": digests, "validation_rows": classes}
    return SPEC.model_copy(update=fields | more), labels


@pytest.mark.parametrize("classes", [300, 2_000])
def test_labels_of_many_classes_stay_as_they_are_from_the_publishers_files_on(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: int
) -> None:
    spec, labels = many_classes(classes, tmp_path)
    monkeypatch.setitem(DATASETS, "many", spec)
    prepared = prepare(spec, store, ingest(spec, store, tmp_path.as_uri(), lambda *_: None), None)
    rows = read_rows(store, load(store, prepared), SPLITS)
    for name, source in (("train", "train"), ("validation", "train"), ("test", "test")):
        assert rows[name].labels.dtype == np.int32
        assert np.array_equal(rows[name].labels, labels[source][rows[name].index])
        assert sorted(rows[name].labels) == list(range(classes))
    assert verify(store, prepared.uri) == prepared


@pytest.mark.parametrize(("code", "form", "label"), [(0x0B, ">h", 299), (0x0C, ">i", 1_999)])
def test_labels_above_255_come_in_wider_idx_types(tmp_path: Path, code: int, form: str, label: int) -> None:
    wide = gzip.compress(bytes([0, 0, code, 1]) + LABELS[4:] + struct.pack(form, label))
    digests = SplitDigests(images=IDX.digests["train"].images, labels=sha256(struct.pack("<i", label)))
    spec = IDX.model_copy(update={"digests": {**IDX.digests, "train": digests}})
    labels = decode(spec, idx_files(tmp_path, train_labels=wide))["train"].labels
    assert (labels.dtype, labels.tolist()) == (np.int32, [label])


def test_digests_of_labels_are_over_bytes_as_long_as_each_fits() -> None:
    assert digest_labels(np.array([0, 255], np.int32)) == sha256(b"\0\xff")
    assert digest_labels(np.array([0, 299], np.int64)) == sha256(struct.pack("<2i", 0, 299))
    assert digest_labels(np.array([43], np.int32)) != digest_labels(np.array([299], np.int32))
