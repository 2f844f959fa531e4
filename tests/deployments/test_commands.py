"""`make deploy` and `make stack` where they cannot do what they are for."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.running_stack import REPOSITORY

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Command:
    """Runs a command of deployments with a Prefect that knows no server."""

    def run(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=tmp_path,  # Prefect reads an .env file where it is started
            env={**kept, "PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONPATH": str(REPOSITORY), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_deploying_without_a_server_says_so(run: Command) -> None:
    done = run("deployments.deploy")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: PREFECT_API_URL must name the Prefect server; it is not set: set it, or start one: make stack"
    )


def test_a_server_that_does_not_answer_is_an_error_that_may_pass(run: Command) -> None:
    done = run("deployments.deploy", PREFECT_API_URL="http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES="0")
    assert done.returncode == 3
    assert "http://127.0.0.1:9/api cannot be reached; set PREFECT_API_URL" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_as_it_must_be_reaches_no_server(run: Command, tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("deployments: []\nname: x\nbuild: []\npull: []\npools: [cpu]\n")
    done = run("deployments.deploy", "--file", str(file), PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(
        "other.yaml is not valid: pools: Extra inputs are not permitted; received ['cpu']"
    )


def test_a_stack_leaves_an_environment_file_of_others_alone(run: Command, tmp_path: Path) -> None:
    theirs = tmp_path / "env"
    theirs.write_text("SECRET=1\n")
    done = run("deployments.stack", "--folder", str(tmp_path / "stack"), "--env-file", str(theirs))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"error: {theirs} must be free for the stack's own; it is another's: move it"
    assert theirs.read_text() == "SECRET=1\n"
