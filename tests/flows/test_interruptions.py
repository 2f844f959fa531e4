"""Processes are killed in the middle of a run."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from lib.store import LocalStore
from tests.faults.scene import outputs
from tests.job_processes import job_of

from .conftest import QUICK, Commands

pytestmark = pytest.mark.usefixtures("clean_environment")
Found = TypeVar("Found")


def wait_for(what: Callable[[], Found], seconds: float = 120) -> Found:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


def in_second_epoch(store: Path) -> bool:
    return any(store.glob("checkpoints/**/00001.00000-*.npz"))


@pytest.fixture
def running(commands: Commands, tmp_path: Path) -> "tuple[subprocess.Popen[str], Path]":
    """A QUICK run in the second epoch of its training."""
    store = tmp_path / "store"
    flow = commands.start("flows.train", *QUICK, "--store", str(store))
    wait_for(lambda: in_second_epoch(store))
    return flow, store


def test_a_killed_training_process_is_retried_from_its_checkpoint_and_ends_with_the_same_bits(
    running: "tuple[subprocess.Popen[str], Path]", finished: tuple[Path, str]
) -> None:
    flow, store = running
    job = job_of(flow.pid)
    assert job is not None
    os.kill(job, signal.SIGKILL)
    _, said = flow.communicate(timeout=200)
    assert flow.returncode == 0, said
    assert "killed by SIGKILL" in said
    assert "digits-softmax resumes after epoch 1" in said
    assert outputs(LocalStore(store)) == outputs(LocalStore(finished[0]))


@pytest.mark.slow
def test_a_killed_flow_takes_its_training_process_along(running: "tuple[subprocess.Popen[str], Path]") -> None:
    flow, store = running
    job = job_of(flow.pid)
    assert job is not None
    flow.kill()
    flow.communicate()
    wait_for(lambda: not Path(f"/proc/{job}").exists(), 40)
    assert not list(store.glob("models/**/manifest.json"))
    assert list(store.glob("checkpoints/**/*.npz")), "a later run goes on there"


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_says_how_to_go_on(running: "tuple[subprocess.Popen[str], Path]") -> None:
    flow, store = running
    os.killpg(flow.pid, signal.SIGINT)
    _, said = flow.communicate(timeout=100)
    assert flow.returncode == 130
    assert said.splitlines()[-1] == "error: interrupted; run the same command again to go on from the last checkpoint"
    assert not list(store.glob("models/**/manifest.json"))
    assert list(store.glob("checkpoints/**/*.npz"))
