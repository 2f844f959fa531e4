"""kill -9 at random moments: the finished model is the one of an undisturbed run, to the last bit of every variable."""

import itertools
import os
import random
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from lib.store import LocalStore
from tests.faults.scene import BEGINS, Run, outputs

from .conftest import Commands

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("clean_environment")]
KILLS = 5
TRAININGS = {
    "digits-cnn": ("--dataset", "digits", "--epochs", "4", "--set", "batch_size=16"),
    "fashion-cnn": (
        "--dataset", "fashion-mnist", "--limit", "2000", "--epochs", "2", "--set", "batch_size=32",
    ),
    "mobilenet": (
        "--dataset", "cifar100", "--limit", "500", "--epochs", "1", "--allow-cpu", "--set", "batch_size=8", "--set",
        "backbone.image_px=32",
    ),
}  # fmt: skip
PREPARED = ("raw", "datasets", "prepared", "weights")
EVALUATED = ("evaluations", "reports")
"""Given to all killed runs but the first: only a model of the same digest finds its evaluation there."""


@dataclass(frozen=True)
class Training:
    """A recipe's training, and how to start it in a store."""

    commands: Commands
    model: str
    mirror: str

    def start(self, store: Path) -> Run:
        environment = {
            **self.commands.environment,
            "MIRROR_URL": self.mirror,
            "STORE_URI": str(store),
            "CHECKPOINT_INTERVAL_S": "0",
            "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "DEBUG",
        }
        command = ("flows.train", "--models", self.model, *TRAININGS[self.model])
        return Run(environment, command)


@pytest.fixture(
    params=["digits-cnn", *(pytest.param(name, marks=pytest.mark.real_data) for name in ("fashion-cnn", "mobilenet"))]
)
def training(request: pytest.FixtureRequest, commands: Commands) -> Training:
    mirror = "" if request.param == "digits-cnn" else request.getfixturevalue("real_mirror")
    return Training(commands, request.param, mirror)


def moments_of(run: Run) -> list[tuple[str, float]]:
    """Each chunk of an undisturbed run, and how many seconds it took: the last one up to the line of its epoch."""
    told = [(at, line) for at, line in zip(run.times, run.lines, strict=True) if BEGINS.search(line) or "epoch" in line]
    pairs = itertools.pairwise(told)
    return [(place[0], then - at) for (at, line), (then, _) in pairs if (place := BEGINS.search(line))]


def test_killed_at_a_random_moment_it_ends_with_the_same_bits(training: Training, tmp_path: Path) -> None:
    undisturbed = tmp_path / "undisturbed"
    run = training.start(undisturbed).end()
    assert run.code == 0, run.said()
    moments = moments_of(run)
    expected = outputs(LocalStore(undisturbed))
    (last_state,) = (state for _, state in expected.values() if state)
    assert len(last_state) == 64
    for number in range(KILLS):
        drawn = random.Random(f"{training.model} {number}")
        place, longest_s = drawn.choice(moments)
        delay_s = drawn.uniform(0, longest_s)
        print(f"kill {number + 1}: {delay_s:.2f} s after it {place}")
        store = tmp_path / f"store-{number}"
        for kind in (*PREPARED, *(EVALUATED if number else ())):
            shutil.copytree(undisturbed / kind, store / kind) if (undisturbed / kind).exists() else None
        run = training.start(store).until(place)
        job = run.job()
        time.sleep(delay_s)
        os.kill(job, signal.SIGKILL)
        assert run.until("killed by SIGKILL").end().code == 0, run.said()
        assert outputs(LocalStore(store)) == expected
        shutil.rmtree(store)
