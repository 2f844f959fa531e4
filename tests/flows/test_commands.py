"""All commands are one family."""

import errno
import logging
from pathlib import Path

import pytest

import flows
from flows.__main__ import COMMANDS
from lib.errors import PermanentError

from .conftest import Commands


def test_without_a_command_all_are_listed(commands: Commands) -> None:
    done = commands.run("flows")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == list(COMMANDS)


def test_an_unknown_command_is_answered_with_the_known_ones(commands: Commands) -> None:
    done = commands.run("flows", "trian")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: unknown command 'trian'; known: {', '.join(COMMANDS)}\n"


@pytest.mark.parametrize("name", ["verify", "retention"])
def test_a_command_explains_itself(commands: Commands, name: str) -> None:
    done = commands.run("flows", name, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: python -m flows.{name} ")
    assert "--store URI" in done.stdout


@pytest.mark.parametrize(
    "command",
    ["flows.train --plan", "flows.verify reports/digits/0", "flows.retention", "deployments.doctor"],
)
def test_every_command_takes_the_store_of_the_environment_file(
    command: str, commands: Commands, tmp_path: Path
) -> None:
    file, store = tmp_path / "env", tmp_path / "store"
    file.write_text(f"STORE_URI={store}\n")
    module, *arguments = command.split()
    done = commands.run(module, *arguments, ENV_FILE=str(file))
    assert f"store        {store}: " in done.stdout or f"Store: {store} (STORE_URI of {file})" in done.stderr


def test_what_prefect_advises_as_it_starts_a_server_is_left_out() -> None:
    record = logging.makeLogRecord(
        {"name": "prefect", "msg": "Starting temporary server on http://x\nSee docs.prefect.io"}
    )
    assert flows._without_advice(record)
    assert "docs.prefect.io" not in record.getMessage()


@pytest.mark.parametrize(
    ("error", "explained"),
    [
        (PermanentError("the rule; what came"), True),
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (MemoryError(), True),
        (RuntimeError("can't start new thread"), True),
        (ZeroDivisionError(), False),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("name", ["prefect.engine", "prefect.flow_runs", "prefect.task_runs"])
def test_the_log_has_no_traceback_of_what_the_last_line_explains(name: str, error: Exception, explained: bool) -> None:
    record = logging.LogRecord(name, logging.ERROR, "", 0, "it failed", None, (type(error), error, None))
    assert logging.getLogger(name).filter(record)
    assert (record.exc_info is None) == explained
