"""A stack that is stopped lets the trainings under way save their state first."""

import re
from pathlib import Path

import pytest

from tests.running_stack import RunningStack

pytestmark = [pytest.mark.stack, pytest.mark.computes, pytest.mark.timeout(900)]
ASKED = {"dataset": "digits", "model": "resnet50", "weights": "none", "overrides": {"batch_size": "10"}}
"""An epoch of 3 chunks: within it, and the 5 minutes between two saves, only a stop saves state."""
CHUNK_2 = "begins with step 51 of epoch 1"
LOGS_CHUNKS = {"PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "DEBUG"}


def test_on_ctrl_c_and_where_its_terminal_is_closed_the_chunk_under_way_is_finished_and_saved(tmp_path: Path) -> None:
    stack = RunningStack(tmp_path, **LOGS_CHUNKS)
    log = tmp_path / "stack" / "log" / "gpu.log"
    try:
        stack.start().deploy()
        for seed, stop in enumerate((RunningStack.stop, RunningStack.close_terminal)):
            stack.run("train-model/gpu", **ASKED, seed=seed)
            stack.wait_until(lambda n=seed: log.read_text().count(CHUNK_2) > n, CHUNK_2, 200)
            stop(stack)
            stack.start()
            states = [path for path in stack.store().list("checkpoints") if path.endswith(".npz")]
            assert len(states) == seed + 1, "one of each training"
            assert all(re.search(r"/00000\.0000[12]-", state) for state in states), "within epoch 1"
    finally:
        stack.power_cut()
