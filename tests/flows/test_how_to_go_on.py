"""What a command says that was stopped: only one that trains has checkpoints to go on from."""

import logging
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.command import _checked
from lib.errors import TransientError

GO_ON = {
    "train": "run the same command again to go on from the last checkpoint",
    "train_model": "run the same command again to go on from the last checkpoint",
    "promote": "run the same command again; of --rollback and --force look at --history first",
    "ingest": "run the same command again",
    "verify": "nothing was changed, and not all was verified: run the same command again",
    "retention": "what is left of the store is whole: run the same command again for the rest",
}
ARGUMENTS = {"train_model": ["--model", "digits-cnn"], "verify": ["reports/digits/0"]}
STOPPED = """
import os, runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it, and this may be one
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as may be one of nohup
import flows.command
flows.command.reach_store = lambda settings: os.kill(os.getpid(), STOP)
runpy.run_module("flows.COMMAND", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("command", "stop"),
    [
        *((command, signal.SIGINT) for command in GO_ON),
        *((command, stop) for command in ("verify", "train") for stop in (signal.SIGTERM, signal.SIGHUP)),
    ],
)
def test_a_command_that_was_stopped_says_how_to_go_on_with_it(
    command: str, stop: signal.Signals, tmp_path: Path
) -> None:
    script = STOPPED.replace("COMMAND", command).replace("STOP", str(int(stop)))
    given = [*ARGUMENTS.get(command, []), "--store", str(tmp_path / "store")]
    done = subprocess.run(
        [sys.executable, "-c", script, *given],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    how, code = {
        signal.SIGINT: ("interrupted", 130),
        signal.SIGTERM: ("asked to stop", 143),
        signal.SIGHUP: ("the terminal was closed", 129),
    }[stop]
    assert done.returncode == code, done.stderr
    assert done.stderr.splitlines()[-1] == f"error: {how}; {GO_ON[command]}"
    assert "Traceback" not in done.stderr


def test_a_server_that_is_lost_says_once_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.outages.watch_calls", lambda go_on: None)
    monkeypatch.setattr(logging, "raiseExceptions", True)  # so that it is as before afterwards

    def lost() -> NoReturn:
        raise httpx.ConnectError("refused")

    with temporary_settings({PREFECT_API_URL: None}), pytest.raises(TransientError) as error:
        _checked(lost, "run the same command again")
    assert str(error.value) == "Prefect's temporary server cannot be reached: refused; run the same command again"
