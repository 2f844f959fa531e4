"""A whole installation on real images and real ImageNet weights."""

import hashlib
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from lib.models.recipes import choose_recipes
from tests.running_stack import RunningStack, overlap

pytestmark = [pytest.mark.stack, pytest.mark.real_data, pytest.mark.computes]


def test_all_models_of_cifar100_are_trained_by_two_workers_at_once(stack: RunningStack, real_mirror: str) -> None:
    run = stack.wait(stack.run("train-all/cifar100", limit=200, epochs=1, weights="none"), within_s=900)
    assert run["state"]["type"] == "COMPLETED", run["state"]
    children = stack.children(run["id"])
    recipes = choose_recipes("cifar100", None)
    names = sorted(f"train {recipe.starting_from('none').title} on cifar100" for recipe in recipes)
    assert sorted(child["name"] for child in children) == names
    assert {child["state"]["type"] for child in children} == {"COMPLETED"}
    (board,) = (
        report.facts["leaderboard"] for report in stack.manifests("reports").values()
        if report.facts["dataset"] == "cifar100"
    )  # fmt: skip
    assert sorted(row["model"] for row in board) == sorted(recipe.name for recipe in recipes)
    workers = {child["id"]: stack.worker_of(child["id"]) for child in children}
    assert set(workers.values()) == {"cpu-1", "cpu-2", "gpu"}
    pairs = [(a, b) for a in children for b in children if workers[a["id"]] < workers[b["id"]] and overlap(a, b)]
    assert pairs, "no two workers trained at once"


def test_weights_at_an_s3_address_reach_the_workers(stack: RunningStack, real_mirror: str) -> None:
    store = stack.store()
    file = Path(unquote(urlparse(real_mirror).path)) / "mobilenet_1_0_224_tf_no_top.weights.h5"
    store.write("given/mine.weights.h5", file)
    asked = {"models": ["mobilenet-frozen"], "limit": 100, "epochs": 1, "weights": f"{store.uri}/given/mine.weights.h5"}
    run = stack.wait(stack.run("train-all/digits", **asked))
    assert run["state"]["type"] == "COMPLETED", run["state"]
    (ours,) = (each for each in stack.manifests("weights").values() if each.facts["name"] == "mine.weights.h5")
    assert ours.files["weights"].sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    again = stack.wait(stack.run("train-all/digits", **asked))
    assert again["state"]["type"] == "COMPLETED", again["state"]
    assert stack.children(again["id"]) == []
