"""kill -9 at random moments of one training: it ends with the model of an undisturbed run, to the last bit."""

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
from tests.faults.scene import BEGINS, Run, outputs, wait_for

from .conftest import Commands

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("clean_environment")]
KILLS = 5
TRAININGS = {
    "digits-cnn": ("--dataset", "digits", "--epochs", "4", "--set", "batch_size=16"),
    "fashion-cnn": (  # streamed
        "--dataset", "fashion-mnist", "--limit", "2000", "--epochs", "2", "--set", "batch_size=32",
        "--set", "stream_above_mb=0",
    ),
    "cifar-fast": (  # of two sizes, and with a moving average
        "--dataset", "cifar100", "--limit", "1000", "--epochs", "2", "--set", "batch_size=16",
        "--set", "averaging=0.99", "--set", 'sizes=[{"epochs": 1, "px": 16}]',
    ),
    "mobilenet": (
        "--dataset", "cifar100", "--limit", "500", "--epochs", "1", "--allow-cpu", "--set", "batch_size=8", "--set",
        "backbone.image_px=32",
    ),
}  # fmt: skip
PREPARED = ("raw", "datasets", "prepared", "weights")


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
            "RETRY_DELAYS_S": f"{[0] * KILLS}",
            "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "DEBUG",
        }
        command = ("flows.train", "--models", self.model, *TRAININGS[self.model])
        return Run(environment, command)


@pytest.fixture(
    params=[
        "digits-cnn",
        *(pytest.param(name, marks=pytest.mark.real_data) for name in ("fashion-cnn", "cifar-fast", "mobilenet")),
    ]
)
def training(request: pytest.FixtureRequest, commands: Commands) -> Training:
    mirror = "" if request.param == "digits-cnn" else request.getfixturevalue("real_mirror")
    return Training(commands, request.param, mirror)


def moments_of(run: Run) -> dict[str, float]:
    """Each chunk of an undisturbed run, and how many seconds it took: the last one up to the line of its epoch."""
    told = [(at, line) for at, line in zip(run.times, run.lines, strict=True) if BEGINS.search(line) or "epoch" in line]
    pairs = itertools.pairwise(told)
    return {place[0]: then - at for (at, line), (then, _) in pairs if (place := BEGINS.search(line))}


def test_killed_five_times_at_random_moments_it_ends_with_the_same_bits(training: Training, tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    run = training.start(undisturbed).end()
    assert run.code == 0, run.said()
    expected = outputs(LocalStore(undisturbed))
    (last_state,) = (state for _, state in expected.values() if state)
    assert len(last_state) == 64
    for kind in PREPARED:
        shutil.copytree(undisturbed / kind, killed / kind) if (undisturbed / kind).exists() else None
    took_s, drawn = moments_of(run), random.Random(training.model)
    places = list(took_s)
    last = len(places) - 1
    chunks = sorted([*drawn.choices(range(last), k=KILLS - 1), drawn.randint(0, last)])
    run = training.start(killed)
    for number, chunk in enumerate(chunks):
        wait_for(lambda c=chunk: set(places[c:]).intersection(begun_since_kill(run)), "chunk")
        # It may have resumed behind the chunk that was drawn. Of the last one only the first half is sure to lie before
        # the training's end, as this machine may be less busy than it was.
        job, place = run.job(), begun_since_kill(run)[-1]
        delay_s = drawn.uniform(0, took_s[place] / 2)
        print(f"kill {delay_s:.2f} s after it {place}")
        time.sleep(delay_s)
        os.kill(job, signal.SIGKILL)
        wait_for(lambda n=number: len(kills(run)) == n + 1, "the flow to say so")
    assert run.end().code == 0, run.said()
    assert outputs(LocalStore(killed)) == expected


def kills(run: Run) -> list[int]:
    """Of the run's lines, those that say that the training was killed."""
    return [number for number, line in enumerate(list(run.lines)) if "killed by SIGKILL" in line]


def begun_since_kill(run: Run) -> list[str]:
    lines = list(run.lines)[max(kills(run), default=0) :]
    return [place[0] for line in lines if (place := BEGINS.search(line))]
