"""A step in a process of its own is followed under the name of its recipe and dataset."""

import logging
from typing import Any

import pytest

from lib.lineage.manifests import Ref
from lib.models.recipes import RECIPES
from lib.runtime.jobs import Emit, Job
from tasks import processes, progress

PREPARED, MODEL, WEIGHTS = (
    Ref(uri=uri, sha256="0" * 64) for uri in ("prepared/toy/key", "models/toy/digits-cnn/key", "weights/mobilenet/key")
)
EPOCH = {"event": "epoch", "epoch": 1, "epochs": 1, "steps": 1, "stopping": False, "loss": 1.0, "accuracy": 0.5,
         "validation_loss": 1.0, "validation_accuracy": 0.5}  # fmt: skip


@pytest.mark.parametrize(
    ("step", "arguments"),
    [
        ("model", {"recipe": {}, "prepared": PREPARED, "seed": 0, "weights": WEIGHTS, "features": None}),
        ("evaluation", {"model": MODEL}),
    ],
)
def test_progress_is_kept_by_recipe_and_dataset(
    monkeypatch: pytest.MonkeyPatch, step: str, arguments: dict[str, Any]
) -> None:
    keys: list[str] = []
    monkeypatch.setattr(processes, "get_run_logger", logging.getLogger)
    monkeypatch.setattr(progress, "create_progress_artifact", lambda _, key, **more: keys.append(key))

    def run_job(job: Job, on_event: Emit) -> Ref:
        on_event(EPOCH)
        return MODEL

    monkeypatch.setattr(processes, "run_job", run_job)
    assert processes.run_step(step, RECIPES["digits-cnn"], **arguments) == MODEL
    assert keys == ["progress-digits-cnn-on-toy"]
