"""What nothing needs any more goes, all else stays, and a clean-up that is cut leaves nothing half there."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from lib.errors import PermanentError, TransientError
from lib.lineage import retention
from lib.lineage.manifests import Manifest, Ref, commit, put_file
from lib.lineage.retention import CleanUp, apply, plan
from lib.lineage.steps import STEPS
from lib.store import LocalStore, Store, open_store

FOLDERS = [step.root for step in STEPS.values()]


def output(store: Store, address: str, kind: Any, inputs: dict[str, Ref], day: int = 1, **facts: Any) -> Ref:
    """Commit an output of one file, made on a day of January."""
    return commit(
        store,
        address,
        Manifest(
            kind=kind,
            inputs=inputs,
            facts=facts,
            content={},
            files={"data": put_file(store, address, "data.bin", address.encode())},
            made_by={"at": f"2026-01-{day:02d}T00:00:00+00:00"},
        ),
    )


def prepared_data(store: Store, limit: int | None = None) -> Ref:
    dataset = output(store, "datasets/toy/d", "dataset", {}, dataset="toy")
    return output(store, f"prepared/toy/{limit}", "prepared", {"dataset": dataset}, dataset="toy", limit=limit)


def computed_features(store: Store, key: str) -> Ref:
    inputs = {
        "prepared": prepared_data(store),
        "weights": output(store, "weights/net/w", "weights", {}, backbone="net"),
    }
    return output(store, f"features/toy/{key}", "features", inputs, dataset="toy")


def trained(
    store: Store, key: str, day: int, recipe: str = "cnn", limit: int | None = None, features: Ref | None = None
) -> Ref:
    """The evaluation of a new model."""
    prepared = prepared_data(store, limit)
    facts = {"dataset": "toy", "limit": limit}
    inputs = {"prepared": prepared, **({"features": features} if features else {})}
    model = output(store, f"models/toy/{recipe}/{key}", "model", inputs, day, recipe={"name": recipe}, **facts)
    inputs = {"model": model, "prepared": prepared}
    return output(store, f"evaluations/toy/{recipe}/{key}", "evaluation", inputs, day, recipe=recipe, **facts)


def reported(store: Store, key: str, day: int, *evaluations: Ref, limit: int | None = None) -> Ref:
    inputs = {"prepared": prepared_data(store, limit), **{ref.uri: ref for ref in evaluations}}
    return output(store, f"reports/toy/{key}", "report", inputs, day, dataset="toy", limit=limit)


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


def everything(store: LocalStore) -> list[str]:
    return sorted(p.relative_to(store.root).as_posix() for p in store.root.rglob("*") if p.is_file())


def addresses(store: LocalStore, folder: str) -> list[str]:
    """What is finished in `folder`, without its name."""
    paths = (p for p in everything(store) if p.startswith(f"{folder}/") and p.endswith("/manifest.json"))
    return [path.removeprefix(f"{folder}/").removesuffix("/manifest.json") for path in paths]


def assert_whole(store: LocalStore) -> None:
    """Every manifest's files are there with the right bytes, and so are the manifests of its inputs."""
    for manifest in store.root.rglob("manifest.json"):
        fields = json.loads(manifest.read_bytes())
        for file in fields["files"].values():
            assert hashlib.sha256((store.root / file["path"]).read_bytes()).hexdigest() == file["sha256"]
        for ref in fields["inputs"].values():
            assert (store.root / ref["uri"] / "manifest.json").is_file(), f"{manifest} refers to {ref['uri']}"


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


def run(store: LocalStore, *arguments: str) -> tuple[int, list[str], list[str]]:
    """Exit code, and the lines on standard output and standard error."""
    command = [sys.executable, "-m", "flows.retention", "--store", store.uri, *arguments]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def test_the_command_removes_only_when_told_to(store: LocalStore) -> None:
    trained(store, "old", 1)
    trained(store, "new", 2)
    store.write("models/toy/cnn/new/loser.bin", b"loser")
    before = everything(store)
    sizes = [
        len((store.root / path).read_bytes())
        for kind in ("evaluations", "models")
        for path in sorted(store.list(f"{kind}/toy/cnn/old"), reverse=True)  # the manifest first
    ]
    total = f"5 files, {sum(sizes):,} bytes and 1 of unknown size"
    code, said, errors = run(store, "--keep", "1")
    assert (code, errors) == (0, [])
    assert said[0] == "would remove  models/toy/cnn/new/loser.bin  named by no manifest"
    assert said[1] == f"would remove  evaluations/toy/cnn/old/manifest.json  old evaluation, {sizes[0]:,} bytes"
    assert said[3] == f"would remove  models/toy/cnn/old/manifest.json  old model, {sizes[2]:,} bytes"
    assert said[5:] == [f"would remove {total}; nothing is removed; add --delete"]
    assert everything(store) == before
    code, said, errors = run(store, "--keep", "1", "--delete")
    assert (code, errors, len(said)) == (0, [], 6)
    assert said[0] == "removed  models/toy/cnn/new/loser.bin  named by no manifest"
    assert said[5] == f"removed {total}"
    assert [path for path in before if path not in everything(store)] == sorted(
        line.split("  ")[1] for line in said[:5]
    )
    assert run(store, "--keep", "1") == (0, ["would remove 0 files, 0 bytes"], [])


def test_the_command_says_in_one_line_what_it_cannot_do(store: LocalStore) -> None:
    trained(store, "m", 1)
    store.write("models/toy/cnn/m/loser.bin", b"loser")
    assert run(store, "--keep", "0", "--delete") == (
        2,
        [],
        ["error: --keep must be a whole number of at least 1; received 0"],
    )
    store.write("models/toy/cnn/m/manifest.json", b"{}")
    code, said, errors = run(store, "--delete")
    assert (code, said, len(errors)) == (2, [], 1)
    assert store.exists("models/toy/cnn/m/loser.bin")
