"""All commands are one family."""

import logging

import pytest

import flows
from flows.__main__ import COMMANDS

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


def test_what_prefect_advises_as_it_starts_a_server_is_left_out() -> None:
    record = logging.makeLogRecord(
        {"name": "prefect", "msg": "Starting temporary server on http://x\nSee docs.prefect.io"}
    )
    assert flows._without_advice(record)
    assert "docs.prefect.io" not in record.getMessage()
