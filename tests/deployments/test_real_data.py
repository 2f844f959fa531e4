"""A whole installation on real images and real ImageNet weights."""

import hashlib
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from tests.running_stack import RunningStack, overlap

pytestmark = [pytest.mark.stack, pytest.mark.real_data, pytest.mark.computes]


def test_models_of_cifar100_are_trained_by_three_workers_at_once(stack: RunningStack, real_mirror: str) -> None:
    models = ["alexnet", "cifar-cnn", "mobilenet"]
    asked = {"limit": 200, "epochs": 1, "weights": "none", "overrides": {"backbone.image_px": "32"}}
    run = stack.wait(stack.run("train-all/cifar100", models=models, **asked), within_s=900)
    assert run["state"]["type"] == "COMPLETED", run["state"]
    children = stack.children(run["id"])
    assert {child["state"]["type"] for child in children} == {"COMPLETED"}
    (board,) = (
        report.facts["leaderboard"] for report in stack.manifests("reports").values()
        if report.facts["dataset"] == "cifar100"
    )  # fmt: skip
    assert sorted(row["model"] for row in board) == models
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
