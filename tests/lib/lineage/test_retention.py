"""What nothing needs any more goes, all else stays, and a clean-up that is cut leaves nothing half there."""

import json
import os
import shutil
import time
import uuid
from pathlib import Path

import pytest

from lib.errors import PermanentError, TransientError
from lib.lineage import retention
from lib.lineage.retention import CleanUp, apply, plan
from lib.lineage.steps import STEPS
from lib.store import LocalStore, Store, open_store

from .made import addresses, assert_whole, computed_features, everything, reported, trained

FOLDERS = [step.root for step in STEPS.values()]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def history(store: LocalStore) -> LocalStore:
    """Four days of one recipe and a report each; another recipe and a limited run on the first; litter of all kinds."""
    features = {key: computed_features(store, key) for key in ("f1", "f2")}
    other = trained(store, "o", 1, recipe="mlp")
    limited = trained(store, "l", 1, limit=9)
    reported(store, "rl", 1, limited, limit=9)
    for day in (1, 2, 3, 4):
        evaluation = trained(store, f"m{day}", day, features=features["f1" if day < 3 else "f2"])
        reported(store, f"r{day}", day, evaluation, other)
    store.write("models/toy/cnn/m1/data-loser.bin", b"loser")
    store.write("checkpoints/models/toy/cnn/m1/lease.json", b"{}")
    (store.root / "models/toy/.partial-cut").write_bytes(b"half")
    os.utime(store.root / "models/toy/.partial-cut", (0, 0))
    return store


def clean(store: Store, keep: int | None = None) -> list[str]:
    """Clean up, and say what went."""
    removals = plan(store, keep).removals
    apply(store, removals)
    return [removal.path for removal in removals]


def test_planning_changes_nothing(history: LocalStore) -> None:
    before = {path: (history.root / path).read_bytes() for path in everything(history)}
    assert len(plan(history, keep=1).removals) > 3
    assert {path: (history.root / path).read_bytes() for path in everything(history)} == before


def test_an_empty_store_has_nothing_to_remove(store: LocalStore) -> None:
    assert plan(store, keep=1) == CleanUp([])
    assert not store.root.exists()


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_what_no_manifest_names_goes_once_there_is_a_manifest(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    uri = str(tmp_path / "store")
    if kind == "s3":
        uri = f"s3://{request.getfixturevalue('s3_environment').bucket}/{uuid.uuid4().hex}"
    store = open_store(uri, tmp_path / "cache")
    reported(store, "r", 1, trained(store, "m", 1, features=computed_features(store, "f")))
    kept = [path for folder in FOLDERS for path in store.list(folder)]
    assert (
        len(kept) == 14
    )  # dataset, prepared, weights, features, model, evaluation, report: a file and a manifest each
    litter = [f"{path.rpartition('/')[0]}/loser.bin" for path in kept if path.endswith("/manifest.json")]
    litter.append("weights/net/w/loser.h5")
    unfinished = ["models/toy/cnn/new/model.keras", "weights/net/other/data.h5", "features/toy/new/train.parquet"]
    for path in [*litter, *unfinished, "raw/toy/index.json", "raw/toy/loser.gz"]:
        store.write(path, b"loser")
    assert sorted(clean(store)) == sorted(litter)
    assert [path for folder in FOLDERS for path in store.list(folder)] == sorted(
        [*kept, *unfinished], key=lambda path: (FOLDERS.index(path.split("/")[0]), path)
    )
    assert store.list("raw") == ["raw/toy/index.json", "raw/toy/loser.gz"]
    assert plan(store) == CleanUp([])


def test_checkpoints_go_once_what_they_were_for_is_finished(store: LocalStore) -> None:
    trained(store, "m", 1, features=computed_features(store, "f"))
    finished = [f"checkpoints/{address}/{name}" for address in ("features/toy/f", "models/toy/cnn/m") for name in "ab"]
    unfinished = [
        "checkpoints/features/toy/g/lease.json",
        "checkpoints/models/toy/cnn/m2/1.npz",
        "checkpoints/models/toy/mlp/m/1.npz",
    ]
    for path in [*finished, *unfinished]:
        store.write(path, b"state")
    assert clean(store) == finished
    assert store.list("checkpoints") == unfinished


def test_what_an_incomplete_upload_left_goes_after_a_day(store: LocalStore) -> None:
    for name, hours in (("younger", 23), ("older", 25)):
        store.write(f"raw/{name}", b"whole")
        (store.root / f"raw/.partial-{name}").write_bytes(b"half")
        os.utime(store.root / f"raw/.partial-{name}", (time.time() - hours * 3600,) * 2)
    assert clean(store) == ["raw/.partial-older"]
    assert everything(store) == ["raw/.partial-younger", "raw/older", "raw/younger"]


def test_a_cut_upload_to_s3_goes_after_its_time(
    s3_environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = open_store(f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}", tmp_path)
    store._s3.create_multipart_upload(Bucket=store.bucket, Key=f"{store.prefix}/raw/x")
    assert plan(store) == CleanUp([])
    monkeypatch.setattr(retention, "INCOMPLETE_UPLOAD_AGE_S", 0)
    (cut,) = clean(store)
    assert cut.startswith("raw/x?uploadId=")
    assert plan(store) == CleanUp([])


def test_without_keep_old_models_stay(history: LocalStore) -> None:
    litter = ["models/toy/cnn/m1/data-loser.bin", "checkpoints/models/toy/cnn/m1/lease.json", "models/toy/.partial-cut"]
    assert clean(history) == litter
    assert len(addresses(history, "models")) == 6


def test_keep_leaves_the_newest_models_with_all_they_are_of(history: LocalStore) -> None:
    clean(history, keep=2)
    assert addresses(history, "models") == ["toy/cnn/l", "toy/cnn/m3", "toy/cnn/m4", "toy/mlp/o"]
    assert addresses(history, "evaluations") == ["toy/cnn/l", "toy/cnn/m3", "toy/cnn/m4", "toy/mlp/o"]
    assert addresses(history, "reports") == ["toy/r4", "toy/rl"]
    assert addresses(history, "features") == ["toy/f2"]
    assert addresses(history, "prepared") == ["toy/9", "toy/None"]
    assert (addresses(history, "datasets"), addresses(history, "weights")) == (["toy/d"], ["net/w"])
    assert not [path for path in everything(history) if "/m1/" in path or "/r1/" in path or "/f1/" in path]
    assert_whole(history)


def test_keep_leaves_what_the_newest_report_is_of_however_old(store: LocalStore) -> None:
    old, new = trained(store, "old", 1), trained(store, "new", 2)
    reported(store, "r1", 2, new)
    reported(store, "r2", 3, old)
    clean(store, keep=1)
    assert addresses(store, "models") == ["toy/cnn/new", "toy/cnn/old"]
    assert addresses(store, "reports") == ["toy/r2"]


def test_each_recipe_has_newest_models_of_its_own(store: LocalStore) -> None:
    for key, day, recipe in (("a", 1, "mlp"), ("b", 2, "mlp"), ("c", 3, "cnn"), ("d", 4, "cnn")):
        trained(store, key, day, recipe)
    clean(store, keep=1)
    assert addresses(store, "models") == addresses(store, "evaluations") == ["toy/cnn/d", "toy/mlp/b"]


def test_of_what_is_equally_new_the_last_address_counts(store: LocalStore) -> None:
    for key in ("b", "a"):
        reported(store, key, 1, trained(store, key, 1))
    clean(store, keep=1)
    assert addresses(store, "models") == ["toy/cnn/b"]
    assert addresses(store, "reports") == ["toy/b"]


def test_keep_leaves_what_an_alias_names_and_its_evaluations(history: LocalStore) -> None:
    model = {"uri": "models/toy/cnn/m1", "sha256": "0" * 64}
    history.write("registry/toy/champion.json", json.dumps({"since": 1, "was": [{"model": model}]}).encode())
    history.write("registry/toy/notes.md", b"not JSON")
    clean(history, keep=1)
    assert addresses(history, "models") == ["toy/cnn/l", "toy/cnn/m1", "toy/cnn/m4", "toy/mlp/o"]
    assert addresses(history, "evaluations") == ["toy/cnn/l", "toy/cnn/m1", "toy/cnn/m4", "toy/mlp/o"]
    assert addresses(history, "features") == ["toy/f1", "toy/f2"]
    assert history.list("registry") == ["registry/toy/champion.json", "registry/toy/notes.md"]
    assert_whole(history)


def test_features_stay_while_a_training_on_their_data_is_unfinished(store: LocalStore) -> None:
    computed_features(store, "f")
    store.write("checkpoints/models/toy/cnn/new/lease.json", b"{}")
    assert clean(store, keep=1) == []
    store.delete("checkpoints/models/toy/cnn/new/lease.json")
    clean(store, keep=1)
    assert addresses(store, "features") == []


def test_a_second_clean_up_finds_nothing(history: LocalStore) -> None:
    assert clean(history, keep=1)
    left = everything(history)
    assert clean(history, keep=1) == []
    assert everything(history) == left


def test_a_clean_up_cut_anywhere_leaves_every_manifest_whole(history: LocalStore, tmp_path: Path) -> None:
    removals = plan(history, keep=1).removals
    whole = tmp_path / "whole"
    shutil.copytree(history.root, whole)
    apply(LocalStore(whole), removals)
    finished = [path for path in everything(LocalStore(whole)) if path.endswith("/manifest.json")]
    for cut_after in range(len(removals)):
        root = tmp_path / f"cut-{cut_after}"
        shutil.copytree(history.root, root)
        with pytest.raises(TransientError, match="killed"):
            apply(CutStore(root, cut_after), removals)
        cut = LocalStore(root)
        assert_whole(cut)
        clean(cut, keep=1)
        assert_whole(cut)
        assert [path for path in everything(cut) if path.endswith("/manifest.json")] == finished
        assert plan(cut, keep=1) == CleanUp([])
        shutil.rmtree(root)


class CutStore(LocalStore):
    """Fails at a removal after so many."""

    def __init__(self, root: Path, removals: int) -> None:
        super().__init__(root)
        self.left = removals

    def delete(self, path: str) -> None:
        if self.left == 0:
            raise TransientError("killed")
        self.left -= 1
        super().delete(path)


@pytest.mark.parametrize("path", ["models/toy/cnn/m2/manifest.json", "weights/net/w/manifest.json"])
def test_a_damaged_manifest_stops_all(history: LocalStore, path: str) -> None:
    history.write(path, history.read(path).replace(b"2026", b"2025"))
    with pytest.raises(PermanentError, match=f"{path} in .* was changed after it was written"):
        plan(history)


def test_a_damaged_alias_stops_all(history: LocalStore) -> None:
    history.write("registry/toy/champion.json", b'{"uri": ')
    with pytest.raises(PermanentError, match=r"an alias must be JSON; received registry/toy/champion\.json in"):
        plan(history, keep=1)
