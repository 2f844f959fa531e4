"""Preparing a dataset: what is chosen, what is counted, what is refused."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib.data.datasets import DATASETS, DatasetSpec, SplitDigests, dataset_address, prepared_address
from lib.data.ingest import ingest
from lib.data.parquet import ImageFile, write_images
from lib.data.parsers import SourceSplit
from lib.data.prepare import find_duplicates, look, prepare, run
from lib.data.rows import open_rows, read_rows
from lib.errors import PermanentError
from lib.lineage.manifests import Manifest, Ref, commit, load, local_file, put_file
from lib.runtime.jobs import Event
from lib.settings import Settings
from lib.store import LocalStore
from tests.whole import whole_manifest

SPEC = DatasetSpec(
    name="toy",
    title="Toy",
    format="toy",
    image_shape=(4, 4, 1),
    rows={"train": 90, "test": 30},
    class_names=("cat", "dog", "eel"),
    digests={"train": SplitDigests(images="", labels=""), "test": SplitDigests(images="", labels="")},
    validation_rows=15,
    source="",
    licence="",
    citation="",
)


def toy(split: str) -> SourceSplit:
    """30 train or 10 test rows of each class, in turn, with random pixels and these equal images.

    Row 0 of train is row 7 of test. Rows 10 and 19 of train are equal and of class 1. Rows 30 (class 0) and
    41 (class 2) of train are equal.
    """
    images = np.random.default_rng(0).integers(0, 256, (120, 4, 4, 1), np.uint8)
    train, test = images[:90], images[90:]
    train[0], train[19], train[41] = test[7], train[10], train[30]
    chosen = train if split == "train" else test
    return SourceSplit(chosen, (np.arange(len(chosen)) % 3).astype(np.uint8))


def commit_dataset(store: LocalStore, folder: Path, spec: DatasetSpec = SPEC) -> Ref:
    address = dataset_address(spec)
    files = {}
    for split in spec.rows:
        write_images(folder / f"{split}.parquet", spec, toy(split))
        files[str(split)] = put_file(store, address, f"{split}.parquet", folder / f"{split}.parquet")
    facts = {"rows": {"train": 90, "test": 30}}
    return commit(store, address, whole_manifest("dataset", address, files=files, facts=facts))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def dataset(store: LocalStore, tmp_path: Path) -> Ref:
    return commit_dataset(store, tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalStore, Ref, Ref]:
    """A store, the toy dataset and what is prepared of it without a limit."""
    store = LocalStore(tmp_path_factory.mktemp("store"))
    dataset = commit_dataset(store, tmp_path_factory.mktemp("files"))
    return store, dataset, prepare(SPEC, store, dataset, None)


def contents(store: LocalStore) -> dict[str, int]:
    """Every file with the time of its last change."""
    return {p.relative_to(store.root).as_posix(): p.stat().st_mtime_ns for p in store.root.rglob("*") if p.is_file()}


def split_of(store: LocalStore, prepared: Manifest) -> dict[str, list[int]]:
    frame = pd.read_parquet(local_file(store, prepared, "splits"))
    return {str(name): group["index"].tolist() for name, group in frame.groupby("split")}


@pytest.mark.usefixtures("groups")
def test_equal_images_are_found_and_told_apart(tmp_path: Path) -> None:
    digests = {}
    for split in ("train", "test"):
        write_images(tmp_path / f"{split}.parquet", SPEC, toy(split))
        digests[split] = look(ImageFile(tmp_path / f"{split}.parquet")).digests
    found = find_duplicates(digests["train"], toy("train").labels, digests["test"])
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "train_in_test": [0],
        "train_repeated": [19, 41],
        "train_grouped": [10, 19, 30, 41],
        "conflicting_groups": [30],
    }


def test_a_row_equal_to_a_test_row_is_left_out_and_equal_rows_stay_in_train(
    whole: tuple[LocalStore, Ref, Ref],
) -> None:
    store, _, ref = whole
    manifest = load(store, ref)
    splits = split_of(store, manifest)
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 74, "validation": 15, "test": 30}
    assert sorted(splits["train"] + splits["validation"]) == list(range(1, 90))
    assert {10, 19, 30, 41} <= set(splits["train"])
    assert [row % 3 for row in splits["validation"]].count(0) == 5
    assert [row % 3 for row in splits["validation"]].count(1) == 5


def test_the_manifest_says_what_is_there(whole: tuple[LocalStore, Ref, Ref]) -> None:
    store, dataset, ref = whole
    manifest = load(store, ref)
    assert ref.uri == prepared_address(SPEC, dataset, None)
    assert manifest.inputs == {"dataset": dataset}
    assert manifest.facts == {
        "dataset": "toy",
        "limit": None,
        "rows": {"train": 74, "validation": 15, "test": 30},
        "image_shape": [4, 4, 1],
        "class_names": ["cat", "dog", "eel"],
        "superclass_names": [],
        "missing_values": 0,
        "duplicates": {"train_in_test": 1, "train_repeated": 2, "train_grouped": 4, "conflicting_groups": 1},
    }
    assert set(manifest.files) == {"splits", "profile"}


def test_the_profile_counts_rows_and_describes_the_chosen_training_pixels(whole: tuple[LocalStore, Ref, Ref]) -> None:
    store, _, ref = whole
    manifest = load(store, ref)
    profile = json.loads(local_file(store, manifest, "profile").read_text())
    # 30 of each class, of which validation has 5; row 0, a cat, is left out.
    assert profile["rows_per_class"] == {"train": [24, 25, 25], "validation": [5, 5, 5], "test": [10, 10, 10]}
    assert profile["missing_values"] == {split: {"image": 0, "label": 0, "index": 0} for split in ("train", "test")}
    pixels = toy("train").images[split_of(store, manifest)["train"]].reshape(74, 16)
    assert profile["channels"]["mean"] == [pytest.approx(pixels.mean())]
    assert profile["pixels"]["count"] == [74] * 16
    assert profile["pixels"]["max"] == pixels.max(axis=0).tolist()


SPLITS_UNTIL_NOW = {
    None: {
        "train": "a29626f092e2102606727b157f99cd5c307947fb1bfc0ef3e1ef127dd8d38817",
        "validation": "a2dfdaf54b80ab219c54117b2ecd633b91bc6d929a3f6f7dcbbe018704ee8fa3",
        "test": "ee4af19c800863c0ae12bf6472df931ef7f9b630d086ce2372f0ab99d826a08e",
    },
    10: {
        "train": "a7f9c20b7840024e2863d8c04e0424583dcb8220708a1568880496e3d7d45a62",
        "validation": "a2dfdaf54b80ab219c54117b2ecd633b91bc6d929a3f6f7dcbbe018704ee8fa3",
        "test": "ee4af19c800863c0ae12bf6472df931ef7f9b630d086ce2372f0ab99d826a08e",
    },
}
"""Digests of row numbers, as they came of images that were all in memory."""


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize("limit", SPLITS_UNTIL_NOW)
def test_what_is_prepared_does_not_depend_on_the_groups_in_which_it_is_read(
    store: LocalStore, tmp_path: Path, limit: int | None
) -> None:
    manifest = load(store, prepare(SPEC, store, commit_dataset(store, tmp_path), limit))
    splits = {name: sha256 for name, sha256 in manifest.content.items() if name != "profile"}
    assert splits == SPLITS_UNTIL_NOW[limit]
    pixels = toy("train").images[split_of(store, manifest)["train"]].reshape(limit or 74, 16)
    table = json.loads(local_file(store, manifest, "profile").read_text())["pixels"]
    for name, expected in pd.DataFrame(pixels).describe().T.items():
        np.testing.assert_allclose(table[str(name)], expected, rtol=1e-12, err_msg=str(name))


def test_its_job_gives_the_same_ref_and_says_how_many_rows_have_been_read(
    store: LocalStore, dataset: Ref, whole: tuple[LocalStore, Ref, Ref]
) -> None:
    events: list[Event] = []
    given = {"spec": SPEC.model_dump(mode="json"), "dataset": dataset.model_dump(), "limit": None}
    assert run(store, Settings(), events.append, **given) == whole[2]
    # train and test, each at once, then train again
    assert events == [{"event": "reading", "rows": rows, "of": 210} for rows in (90, 120, 210)]


def test_preparing_again_gives_the_same_ref_and_writes_nothing(whole: tuple[LocalStore, Ref, Ref]) -> None:
    store, dataset, first = whole
    before = contents(store)
    assert prepare(SPEC, store, dataset, None) == first
    assert contents(store) == before


def test_preparing_in_another_store_gives_the_same_ref(store: LocalStore, dataset: Ref, tmp_path: Path) -> None:
    other = LocalStore(tmp_path / "other")
    assert prepare(SPEC, other, commit_dataset(other, tmp_path), 9) == prepare(SPEC, store, dataset, 9)


def test_a_limit_takes_a_beginning_of_the_training_rows_and_all_of_validation_and_test(
    store: LocalStore, dataset: Ref
) -> None:
    few, more, every = (split_of(store, load(store, prepare(SPEC, store, dataset, limit))) for limit in (10, 37, None))
    assert [len(found["train"]) for found in (few, more, every)] == [10, 37, 74]
    assert set(few["train"]) < set(more["train"]) < set(every["train"])
    assert {row % 3 for row in few["train"]} == {0, 1, 2}
    for name, rows in (("validation", 15), ("test", 30)):
        assert few[name] == more[name] == every[name]
        assert len(every[name]) == rows


@pytest.mark.parametrize("limit", [74, 75, 10**20])  # of 90 rows 15 are for validation, and 1 equals a test row
def test_a_limit_of_all_training_rows_is_the_output_without_a_limit(
    store: LocalStore, dataset: Ref, whole: tuple[LocalStore, Ref, Ref], limit: int
) -> None:
    assert prepare(SPEC, store, dataset, limit) == whole[2]
    assert load(store, whole[2]).facts["limit"] is None
    assert [path for path in store.list("prepared") if path.endswith("manifest.json")] == [
        f"{whole[2].uri}/manifest.json"
    ]


def test_a_limit_below_the_classes_is_refused_and_leaves_nothing(store: LocalStore, dataset: Ref) -> None:
    with pytest.raises(
        PermanentError, match=r"^limit \(--limit N\) must be at least 3, one row of each class; received 2$"
    ):
        prepare(SPEC, store, dataset, 2)
    assert store.list("prepared") == []


def test_the_chosen_rows_are_read_as_arrays(store: LocalStore, dataset: Ref) -> None:
    manifest = load(store, prepare(SPEC, store, dataset, 10))
    splits = split_of(store, manifest)
    rows, stored = (read(store, manifest, ("train", "validation", "test")) for read in (read_rows, open_rows))
    for name, source in (("train", "train"), ("validation", "train"), ("test", "test")):
        assert rows[name].index.tolist() == splits[name]
        assert rows[name].labels.tolist() == [row % 3 for row in splits[name]]
        assert np.array_equal(rows[name].images, toy(source).images[splits[name]])
        assert np.array_equal(stored[name].images.all(), rows[name].images)
        assert stored[name].labels.tolist() == rows[name].labels.tolist()
        assert stored[name].index.tolist() == splits[name]
    assert list(read_rows(store, manifest, ("validation",))) == ["validation"]


def test_a_dataset_that_breaks_its_spec_is_not_prepared(store: LocalStore, dataset: Ref) -> None:
    with pytest.raises(PermanentError, match=r"^toy: test must have 31 rows; received 30$"):
        prepare(SPEC.model_copy(update={"rows": {"train": 90, "test": 31}}), store, dataset, None)
    assert store.list("prepared") == []


def test_digits_have_the_rows_they_promise(store: LocalStore) -> None:
    spec = DATASETS["digits"]
    dataset = ingest(spec, store, None, lambda *_: None)
    manifest = load(store, prepare(spec, store, dataset, None))
    assert manifest.facts["rows"] == {"train": 1293, "validation": 144, "test": 360}
    assert load(store, prepare(spec, store, dataset, 100)).facts["rows"] == {
        "train": 100,
        "validation": 144,
        "test": 360,
    }


def test_splits_that_are_not_as_they_were_written_are_refused_by_name(
    whole: tuple[LocalStore, Ref, Ref], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store, _, prepared = whole
    manifest, file = load(store, prepared), tmp_path / "splits.parquet"
    manifest.facts["rows"] = {"train": 1, "validation": 1, "test": 1}
    monkeypatch.setattr("lib.lineage.manifests.local_file", lambda *_: file)
    says = rf"^{manifest.files['splits'].path} in .* must hold what its output needs; received another content \("
    right = pd.DataFrame({"index": [0, 1, 2], "split": ["train", "validation", "test"]})
    for wrong in (
        right[:2],
        right.drop(columns="index"),
        right.drop(columns="split"),
        right.assign(index=["a", "b", "c"]),
        right[:0],
        *(right.assign(index=[index, 1, 2]) for index in (90, -1, 2**40)),
    ):
        wrong.to_parquet(file)
        with pytest.raises(PermanentError, match=says):
            read_rows(store, manifest, ("train",))
    file.write_bytes(b"PAR1 rot")
    with pytest.raises(PermanentError, match=says):
        read_rows(store, manifest, ("train",))
