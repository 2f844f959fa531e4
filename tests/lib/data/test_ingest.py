"""From publishers' files to a dataset in the store."""

import gzip
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from lib.data.datasets import DATASETS, SplitDigests, dataset_address
from lib.data.fetch import fetch
from lib.data.ingest import ingest
from lib.errors import PermanentError
from lib.lineage.manifests import Ref, find, load, local_file
from lib.lineage.verify import verify
from lib.store import LocalStore

from .publisher import FILES, TOY, quiet, sha256
from .tables import read_images


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def remove(url: str) -> None:
    for path in Path(url.removeprefix("file://")).iterdir():
        path.unlink()


def test_ingest_commits_what_the_spec_describes(store: LocalStore, mirror: Callable[..., str]) -> None:
    url = mirror()
    ref = ingest(TOY, store, url, quiet)
    assert ref.uri == dataset_address(TOY)
    manifest = load(store, ref)
    assert manifest.kind == "dataset"
    assert manifest.facts["rows"] == {"train": 2, "test": 1}
    assert manifest.content == {
        "train-images": sha256(10, 20, 30, 40),
        "train-labels": sha256(1, 0),
        "test-images": sha256(50, 60),
        "test-labels": sha256(1),
    }
    assert sorted(manifest.files) == [*(f"raw/{role}.gz" for role in sorted(FILES)), "test", "train"]
    assert manifest.made_by["fetched_from"] == url
    for name in manifest.files:
        assert local_file(store, manifest, name).is_file()


def test_a_second_ingest_needs_no_mirror(store: LocalStore, mirror: Callable[..., str]) -> None:
    url = mirror()
    ref = ingest(TOY, store, url, quiet)
    remove(url)
    assert ingest(TOY, store, url, quiet) == ref


def test_a_dataset_is_made_again_from_the_files_that_were_kept(store: LocalStore, mirror: Callable[..., str]) -> None:
    url = mirror()
    ref = ingest(TOY, store, url, quiet)
    remove(url)
    for path in store.list(ref.uri):
        store.delete(path)
    assert ingest(TOY, store, url, quiet) == ref


@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_a_kept_file_that_was_damaged_is_fetched_again(
    store: LocalStore, mirror: Callable[..., str], damage: str
) -> None:
    url = mirror()
    ref = ingest(TOY, store, url, quiet)
    kept = load(store, ref).files["raw/train-images.gz"].path
    store.delete(f"{ref.uri}/manifest.json")
    store.delete(kept)
    if damage == "changed":
        store.write(kept, b"damaged")
    assert ingest(TOY, store, url, quiet) == ref
    assert gzip.decompress(store.read(kept)) == FILES["train-images"]


CORRECTED = FILES["train-images"][:-1] + bytes([41])
NEW_TOY = TOY.model_copy(
    update={"digests": TOY.digests | {"train": SplitDigests(images=sha256(10, 20, 30, 41), labels=sha256(1, 0))}}
)


def test_a_publishers_new_file_under_an_old_name_is_fetched(store: LocalStore, mirror: Callable[..., str]) -> None:
    old = ingest(TOY, store, mirror("old"), quiet)
    new = ingest(NEW_TOY, store, mirror("new", train_images=CORRECTED), quiet)
    assert load(store, new).content["train-images"] == sha256(10, 20, 30, 41)
    assert ingest(TOY, store, "file:///none", quiet) == old
    for ref in (old, new):
        manifest = load(store, ref)
        assert all(local_file(store, manifest, name).is_file() for name in manifest.files)


def test_a_mirror_with_the_old_file_is_asked_once_and_named(store: LocalStore, mirror: Callable[..., str]) -> None:
    ingest(TOY, store, url := mirror("old"), quiet)
    fetched: list[str] = []
    with pytest.raises(PermanentError, match="; check MIRROR_URL: each file there must be the publisher's own"):
        ingest(NEW_TOY, store, url, lambda name, done, total: fetched.append(name) if done else None)
    assert fetched == [f"{role}.gz" for role in FILES]


def test_a_password_in_a_mirrors_address_is_in_no_manifest(
    store: LocalStore, mirror: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = mirror()
    monkeypatch.setattr("lib.data.ingest.fetch", lambda file, url, *more: fetch(file, real, *more))
    ref = ingest(TOY, store, "https://user:secret@mirror.example/data?token=secret", quiet)
    assert load(store, ref).made_by["fetched_from"] == "https://mirror.example/data"
    assert b"secret" not in store.read(f"{ref.uri}/manifest.json")


def test_an_index_of_kept_files_that_is_damaged_is_named(store: LocalStore, mirror: Callable[..., str]) -> None:
    outside = json.dumps({"train-images.gz": {"path": "../../victim", "sha256": "0" * 64, "size_bytes": 1}}).encode()
    for damaged in (b"{", b'{"train-images.gz": {}}', outside):
        store.write("raw/toy/index.json", damaged)
        with pytest.raises(PermanentError, match=r"raw/toy/index\.json in .* is damaged; remove it and run again"):
            ingest(TOY, store, "file:///none", quiet)


def test_wrong_pixels_leave_nothing_behind(store: LocalStore, mirror: Callable[..., str]) -> None:
    wrong = FILES["train-images"][:-1] + bytes([41])
    with pytest.raises(PermanentError, match="toy: train images must have sha256"):
        ingest(TOY, store, mirror(train_images=wrong), quiet)
    assert find(store, dataset_address(TOY)) is None
    assert not store.exists("raw/toy/index.json")
    assert store.list("raw") == []


def test_a_mirror_packed_anew_gives_the_same_ref(store: LocalStore, mirror: Callable[..., str], tmp_path: Path) -> None:
    one, two = mirror("one"), mirror("two", level=0, mtime=1_000_000)
    names = [Path(url.removeprefix("file://")) / "train-images.gz" for url in (one, two)]
    assert names[0].read_bytes() != names[1].read_bytes()
    assert ingest(TOY, store, one, quiet) == ingest(TOY, LocalStore(tmp_path / "other"), two, quiet)


def test_parquet_opens_in_duckdb_and_pandas_with_the_right_pixels(
    store: LocalStore, mirror: Callable[..., str]
) -> None:
    manifest = load(store, ingest(TOY, store, mirror(), quiet))
    train = local_file(store, manifest, "train")
    rows = duckdb.sql(f"select image, label, index from '{train}' order by index").fetchall()
    assert rows == [(b"\x0a\x14", 1, 0), (b"\x1e\x28", 0, 1)]
    frame = pd.read_parquet(train)
    assert list(frame.columns) == ["image", "label", "index"]
    assert [list(image) for image in frame["image"]] == [[10, 20], [30, 40]]
    assert frame["label"].tolist() == [1, 0]
    assert str(frame["label"].dtype) == "int16"
    table = read_images(train)
    assert table.images.tolist() == [[[[10], [20]]], [[[30], [40]]]]
    assert table.missing == {"image": 0, "label": 0, "index": 0}


PUBLISHED = {
    "cifar100": {
        "train-images": "4e457917601a66aed021f5fa37957b56c6319557c0a8ed5484de3c390af45430",
        "train-labels": "9f11b9f97aad759ba6df0a33e3218b01d8deaf4ed3a14aa1185d69b9ad7ebcb3",
        "train-coarse_labels": "1804078d4e89b6b90bd5da6ffead1404596f6eecba15ceb8d95b6a09dfbba4c0",
        "test-images": "4cb8e5d9309da489bf6b19cc10cd96c3ae6f8daf225380b605aaee4c0d6aee19",
        "test-labels": "4dad7d09c7c97d33f6cb928d705cf4196221316fd6e31bdd978a08ed9103ee0b",
        "test-coarse_labels": "48df17fb3bf299f43dd7e131db11ca0ea8b07d750be8b6dcf7ad6ff1b4cc721d",
    },
    "fashion-mnist": {
        "train-images": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
        "train-labels": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
        "test-images": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
        "test-labels": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
    },
}

# CIFAR-100's rows that equal a test row or an earlier training row, and groups of equal rows with several labels.
KNOWN_DUPLICATES = {"train_in_test": 10, "train_repeated": 14, "conflicting_groups": 9}

# One step in a process of its own: prints its CPU seconds, which other work on the machine does not lengthen, its
# peak of memory in KiB (from /proc: getrusage's peak begins with the parent's), and its ref.
CHILD = """
import sys, time
from pathlib import Path
from lib.data.own import find_dataset
from lib.data.ingest import ingest
from lib.data.prepare import prepare
from lib.store import LocalStore
step, name, mirror, folder = sys.argv[1:]
spec, store = find_dataset(name), LocalStore(Path(folder))
started = time.process_time()
ref = ingest(spec, store, mirror, lambda *_: None)
if step == "prepare":
    ref = prepare(spec, store, ref, None)
peak_kib = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
print(time.process_time() - started, peak_kib, ref.model_dump_json())
"""


def run_step(step: str, name: str, mirror: str, store: LocalStore) -> Ref:
    """The step's ref, after holding it to 15 s of CPU time and 1 GB."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, step, name, mirror, store.uri],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seconds, peak_kib, ref = done.stdout.split(maxsplit=2)
    print(f"{step} {name}: {float(seconds):.1f} s of CPU, {int(peak_kib) // 1024} MiB")
    assert float(seconds) < 15
    assert int(peak_kib) * 1024 < 1e9
    return Ref.model_validate_json(ref)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["cifar100", "fashion-mnist"])
def test_real_data_come_out_pixel_for_pixel_and_split_in_little_time_and_memory(
    name: str, real_mirror: str, store: LocalStore
) -> None:
    dataset = load(store, run_step("ingest", name, real_mirror, store))
    found = {}
    for split in ("train", "test"):
        table = read_images(local_file(store, dataset, split))
        found[f"{split}-images"] = hashlib.sha256(table.images.tobytes()).hexdigest()
        found[f"{split}-labels"] = hashlib.sha256(table.labels.astype("uint8").tobytes()).hexdigest()
        if table.coarse_labels is not None:
            coarse = table.coarse_labels.astype("uint8").tobytes()
            found[f"{split}-coarse_labels"] = hashlib.sha256(coarse).hexdigest()
    assert found == PUBLISHED[name]
    facts = load(store, run_step("prepare", name, real_mirror, store)).facts
    if name == "cifar100":
        duplicates = {name: facts["duplicates"][name] for name in KNOWN_DUPLICATES}
        assert duplicates == KNOWN_DUPLICATES
        assert facts["rows"] == {"train": 44_990, "validation": 5_000, "test": 10_000}  # 50,000 - 10 - 5,000
    else:
        assert facts["rows"]["train"] == 50_000 - facts["duplicates"]["train_in_test"]
        assert (facts["rows"]["validation"], facts["rows"]["test"]) == (10_000, 10_000)


def test_verify_names_the_raw_file_or_table_in_which_a_byte_was_flipped(
    store: LocalStore, mirror: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "toy", TOY)
    ref = ingest(TOY, store, mirror(), quiet)
    assert verify(store, ref.uri) == ref
    for file in load(store, ref).files.values():
        honest = store.read(file.path)
        store.write(file.path, honest[:-20] + bytes([honest[-20] ^ 1]) + honest[-19:])
        with pytest.raises(PermanentError, match=f"^{file.path} must have sha256 {file.sha256}"):
            verify(store, ref.uri)
        store.write(file.path, honest)
