"""All commands are one family."""

import errno
import logging
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.__main__ import COMMANDS
from lib.errors import PermanentError
from tasks.temporary_server import TemporaryServer

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


@pytest.mark.parametrize(("url", "shown"), [("http://127.0.0.1:1/api", False), ("http://other/api", True)])
def test_of_a_temporary_server_no_link_is_shown(url: str, shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TemporaryServer, "url", "http://127.0.0.1:1/api")
    record = logging.makeLogRecord({"name": "prefect.flow_runs", "msg": "View at http://127.0.0.1:1/runs/flow-run/7"})
    with temporary_settings({PREFECT_API_URL: url}):
        assert bool(logging.getLogger("prefect.flow_runs").filter(record)) == shown


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
