"""One entry, its module, its task and its flow add a step: it is found, planned, verified, retained."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from lib.data.rows import read_rows
from lib.errors import PermanentError
from lib.evaluation.prediction_table import read_probabilities
from lib.lineage import retention
from lib.lineage.kept import Policy
from lib.lineage.manifests import Manifest, Ref, commit, find, load, put_file
from lib.lineage.step import Kept, Step
from lib.lineage.steps import STEPS
from lib.lineage.verify import Recomputed, check_address, verify
from lib.planning.outputs import find_prepared, model_outputs
from lib.planning.plan import make_plan
from lib.planning.preview import Line, preview
from lib.planning.request import TrainingRequest
from lib.store import LocalStore, Store
from tasks.settings import current_store

# The entry.
BRIGHTNESS = Step(
    kind="brightness",
    version=1,
    does="measure brightness for {title}",
    folder="brightness/{dataset_name}/{recipe_name}",
    key=("evaluation",),
    per="model",
    verified_by=f"{__name__}:recompute",
    kept=Kept.WITH_INPUTS,
    says={"inputs.evaluation": Any, "facts.brightness": float, "files.brightness": Any},
)


# Its module.
def measure_brightness(store: Store, evaluation: Ref) -> Ref:
    """Commit the mean brightness of the test images that were mistaken, unless it is there."""
    facts = load(store, evaluation).facts
    address = BRIGHTNESS.address(dataset_name=facts["dataset"], recipe_name=facts["recipe"], evaluation=evaluation)
    if done := find(store, address):
        return done[0]
    value = _brightness(store, evaluation)
    return commit(
        store,
        address,
        Manifest(
            kind="brightness",
            inputs={"evaluation": evaluation},
            facts={"dataset": facts["dataset"], "limit": facts["limit"], "brightness": value},
            content={"brightness": _digest(value)},
            files={"brightness": put_file(store, address, "brightness.json", json.dumps(value).encode())},
            made_by={"at": "2026-01-01"},
        ),
    )


def recompute(store: Store, address: str, manifest: Manifest) -> Recomputed:
    evaluation = manifest.inputs["evaluation"]
    facts, value = load(store, evaluation).facts, _brightness(store, evaluation)
    names = {"dataset_name": facts["dataset"], "recipe_name": facts["recipe"]}
    check_address("brightness", address, **names, evaluation=evaluation)
    return Recomputed(
        inputs=frozenset({"evaluation"}),
        facts={"dataset": facts["dataset"], "limit": facts["limit"], "brightness": value},
        content={"brightness": _digest(value)},
        files={"brightness": "brightness.json"},
    )


def _brightness(store: Store, evaluation: Ref) -> float:
    manifest = load(store, evaluation)
    test = read_rows(store, load(store, manifest.inputs["prepared"]), ("test",))["test"]
    predicted = read_probabilities(store, manifest, "test").argmax(axis=1)
    return float(np.mean(test.images[predicted != test.labels]))


def _digest(value: float) -> str:
    return f"{value:.6f}"


# Its task and its flow.
@task(cache_policy=NO_CACHE)
def measure(evaluation: Ref) -> Ref:
    return measure_brightness(current_store(), evaluation)


@flow(name="brightness")
def brightness(evaluation: Ref) -> Ref:
    return measure(evaluation)


PLAN = make_plan(TrainingRequest(dataset="digits", models=["digits-softmax"], epochs=3, overrides={"batch_size": "8"}))
"""What the fixture `finished` has run."""


@pytest.fixture
def store(finished: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.setitem(STEPS, "brightness", BRIGHTNESS)
    shutil.copytree(finished[0], tmp_path / "store")
    monkeypatch.setenv("STORE_URI", str(tmp_path / "store"))
    return LocalStore(tmp_path / "store")


def outputs(store: LocalStore) -> dict[str, Ref | None]:
    prepared = find_prepared(store, PLAN.dataset, PLAN.limit)
    return {each.step.kind: each.ref for each in model_outputs(store, PLAN, PLAN.trials[0], prepared)}


def evaluation_of(store: LocalStore) -> Ref:
    evaluation = outputs(store)["evaluation"]
    assert evaluation
    return evaluation


def test_it_is_planned_and_then_found(store: LocalStore) -> None:
    line = Line("measure brightness for digits-softmax", "would run", "not in the store yet")
    assert line in preview(store, PLAN, allow_cpu=False)
    assert outputs(store)["brightness"] is None
    made = brightness(evaluation_of(store))
    assert made.uri.startswith("brightness/digits/digits-softmax/")
    assert outputs(store)["brightness"] == made
    assert Line(line.name, "done") in preview(store, PLAN, allow_cpu=False)
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*")}
    assert brightness(evaluation_of(store)) == made
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*")} == before


@pytest.mark.slow
def test_it_is_verified_back_to_the_raw_data(store: LocalStore) -> None:
    made, held = measure_brightness(store, evaluation_of(store)), list[str]()
    assert verify(store, made.uri, lambda address, manifest: held.append(manifest.kind)) == made
    assert held == ["dataset", "prepared", "model", "evaluation", "brightness"]
    manifest = load(store, made)
    record = store.root / made.uri / "manifest.json"
    record.write_bytes(manifest.model_copy(update={"content": {"brightness": _digest(255.0)}}).to_json())
    with pytest.raises(PermanentError, match=rf"^{made.uri}: brightness must have sha256 255\.000000, as "):
        verify(store, made.uri)


def commit_at(store: LocalStore, address: str, manifest: Manifest) -> Ref:
    """With files of its own there."""
    files = {name: put_file(store, address, name, store.read(file.path)) for name, file in manifest.files.items()}
    return commit(store, address, manifest.model_copy(update={"files": files}))


def test_it_is_kept_as_long_as_what_it_was_made_of(store: LocalStore) -> None:
    made = measure_brightness(store, evaluation_of(store))
    store.write(f"{made.uri}/loser.json", b"{}")
    policy = Policy(keep=1, grace_s=0)
    assert [each.path for each in retention.plan(store, policy).removals] == [f"{made.uri}/loser.json"]
    newer = load(store, outputs(store)["model"] or made)
    (report,) = store.root.glob("reports/digits/*/manifest.json")
    report.unlink()
    evaluation = load(store, evaluation_of(store))
    model = commit_at(store, "models/digits/digits-softmax/newer", newer)
    better = evaluation.model_copy(update={"inputs": evaluation.inputs | {"model": model}})
    better.facts["metrics"]["validation"]["accuracy"] = 1.0
    commit_at(store, "evaluations/digits/digits-softmax/newer", better)
    gone = [each.path for each in retention.plan(store, policy).removals if each.reason.startswith("old")]
    assert [path.split("/")[0] for path in gone if path.endswith("manifest.json")] == [
        "brightness", "duplicates", "evaluations", "models",
    ]  # fmt: skip
