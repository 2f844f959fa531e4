"""What nothing needs any more goes, all else stays, and a clean-up that is cut leaves nothing half there."""

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from lib.lineage import retention
from lib.lineage.manifests import find, load
from lib.lineage.retention import CleanUp, plan
from lib.lineage.steps import STEPS
from lib.store import LocalStore, open_store

from .made import addresses, age, assert_whole, clean, computed_features, everything, policy, reported, trained

FOLDERS = [step.root for step in STEPS.values()]


def test_planning_changes_nothing(history: LocalStore) -> None:
    before = {path: (history.root / path).read_bytes() for path in everything(history)}
    assert len(plan(history, policy(1)).removals) > 3
    assert {path: (history.root / path).read_bytes() for path in everything(history)} == before


def test_an_empty_store_has_nothing_to_remove(store: LocalStore) -> None:
    assert plan(store, policy(1)) == CleanUp([])
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
    assert plan(store, policy()) == CleanUp([])


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
    partials = [f"raw/.partial-{hours:032}" for hours in (23, 25)]
    for path, hours in zip(partials, (23, 25), strict=True):
        store.write(f"raw/{hours}", b"whole")
        (store.root / path).write_bytes(b"half")
        os.utime(store.root / path, (time.time() - hours * 3600,) * 2)
    assert clean(store) == partials[1:]
    assert everything(store) == [partials[0], "raw/23", "raw/25"]


def test_a_cut_upload_to_s3_goes_after_its_time(
    s3_environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = open_store(f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}", tmp_path)
    store._s3.create_multipart_upload(Bucket=store.bucket, Key=f"{store.prefix}/raw/x")
    assert plan(store, policy()) == CleanUp([])
    monkeypatch.setattr(retention, "GRACE_S", 0)
    (cut,) = clean(store)
    assert cut.startswith("raw/x?uploadId=")
    assert plan(store, policy()) == CleanUp([])


def test_without_keep_old_models_stay(history: LocalStore) -> None:
    litter = [
        "models/toy/cnn/m1/data-loser.bin",
        "checkpoints/models/toy/cnn/m1/lease.json",
        "models/toy/.partial-00000000000000000000000000000000",
    ]
    assert clean(history) == litter
    assert len(addresses(history, "models")) == 6


def test_keep_leaves_the_newest_models_with_all_they_are_of(history: LocalStore) -> None:
    clean(history, keep=2)
    assert addresses(history, "models") == ["toy/cnn/l", "toy/cnn/m3", "toy/cnn/m4", "toy/mlp/o"]
    assert addresses(history, "evaluations") == ["toy/cnn/l", "toy/cnn/m3", "toy/cnn/m4", "toy/mlp/o"]
    assert addresses(history, "reports") == ["toy/r3", "toy/r4", "toy/rl"]
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
    for path in store.root.rglob("*"):
        os.utime(path, (0, 0))
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


@pytest.mark.parametrize("data", [b"{}", b"[" * 100_000, b"", "/dev/zero", "nowhere"])
def test_a_damaged_manifest_is_named_and_nothing_old_of_its_dataset_goes(history: LocalStore, data: object) -> None:
    history.delete(manifest := "models/toy/cnn/m2/manifest.json")
    if isinstance(data, bytes):
        history.write(manifest, data)
    else:
        (history.root / manifest).symlink_to(str(data))
    planned = plan(history, policy(1))
    assert planned.note == "1 output with a damaged manifest left alone, such as models/toy/cnn/m2"
    assert not [each for each in planned.removals if each.reason.startswith("old")]


FORGED = [
    ("models/toy/cnn/m1", {"files": "datasets/toy/d"}),  # it names another output's file
    ("datasets/toy/d", {"kind": "model"}),  # data said to be a model
    ("models/toy", {"kind": "model"}),  # at the folder of many
    ("models", {"kind": "model"}),
    ("models/toy/cnn/m1", {"kind": "medal"}),
    ("models/toy/cnn/m1", {"inputs": "models/toy/cnn/m1"}),  # made of itself
    ("models/toy/cnn/m1", {"facts": {"recipe": {"epochs": [[]]}, "limit": {}, "metrics": 3}}),
]


@pytest.mark.parametrize(("address", "change"), FORGED, ids=range(len(FORGED)))
def test_a_forged_manifest_takes_no_other_output_away(
    history: LocalStore, address: str, change: dict[str, Any]
) -> None:
    manifest = load(history, trained(history, "honest", 1))
    other = find(history, str(change.get("files") or change.get("inputs") or "datasets/toy/d"))
    assert other
    parts = (
        {"files": other[1].files}
        if "files" in change
        else {"inputs": {"a": other[0]}}
        if "inputs" in change
        else change
    )
    history.write(f"{address}/manifest.json", manifest.model_copy(update=parts).to_json())
    age(history, f"{address}/manifest.json", days=59)
    history.write("models/toy/cnn/under-way/model.keras", b"half")
    age(history, "models/toy/cnn/under-way", days=30)
    data = [path for path in everything(history) if path.startswith(("datasets/", "prepared/", "weights/"))]
    clean(history, keep=1)
    assert {*data, "models/toy/cnn/under-way/model.keras"} <= {*everything(history)}


def test_the_best_full_model_stays_and_tries_count_apart(store: LocalStore) -> None:
    full = trained(store, "full", 1, accuracy=0.9639)
    reported(store, "full", 1, full)
    for day in (2, 3):
        reported(store, f"try{day}", day, trained(store, f"try{day}", day, accuracy=0.9278, epochs=2))
    trained(store, "worse", 4, accuracy=0.95)
    trained(store, "worst", 5, accuracy=0.90)
    clean(store, keep=1)
    assert addresses(store, "models") == ["toy/cnn/full", "toy/cnn/try3", "toy/cnn/worst"]
    assert addresses(store, "reports") == ["toy/full", "toy/try3"]
    assert_whole(store)


def test_of_reports_as_many_stay_as_of_models(store: LocalStore) -> None:
    for day in range(1, 6):
        reported(store, f"r{day}", day, trained(store, f"m{day}", day))
    clean(store, keep=3)
    assert addresses(store, "reports") == ["toy/r3", "toy/r4", "toy/r5"]
    assert addresses(store, "models") == ["toy/cnn/m3", "toy/cnn/m4", "toy/cnn/m5"]


def test_each_manifest_is_read_once(history: LocalStore) -> None:
    class CountingStore(LocalStore):
        reads = 0

        def read(self, path: str) -> bytes:
            self.reads += path.endswith("manifest.json")
            return super().read(path)

    store = CountingStore(history.root)
    plan(store, policy(1))
    assert store.reads == len([path for path in everything(history) if path.endswith("manifest.json")])


def test_what_lies_in_a_linked_folder_is_seen(history: LocalStore, tmp_path: Path) -> None:
    (history.root / "reports").rename(tmp_path / "elsewhere")
    (history.root / "reports").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/toy/round").symlink_to(tmp_path / "elsewhere")
    clean(history, keep=1)
    assert addresses(history, "models") == ["toy/cnn/l", "toy/cnn/m4", "toy/mlp/o"]
    assert [path for path in history.list("reports") if path.endswith("manifest.json")] == [
        "reports/toy/r4/manifest.json", "reports/toy/rl/manifest.json",
    ]  # fmt: skip
