"""The Prefect server changes while a run uses it: the run says so, waits, and ends with one line."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.switched_server import GONE, HANGS, SwitchedServer, switched_server

from .conftest import REPOSITORY, Commands
from .test_interruptions import wait_for

ENDS_AFTER_S = 5
RUN = """
import sys, time
from pathlib import Path
from prefect import flow
from prefect.logging import get_run_logger
from flows.command import main_of
from lib.command_line import GO_ON
from tasks import outages

@flow(name="within-an-outage")
def within():
    get_run_logger().info("a log")

@flow(name="an-outage")
def run():
    get_run_logger().info("a log")
    Path("begun").touch()
    while not Path("changed").exists():
        time.sleep(0.05)
    within()

outages.SAYS_SO_AFTER_S, outages.ENDS_AFTER_S = 1, float(sys.argv[1])
main_of(run, GO_ON)
"""
TOO_LATE = f"has not served us for {ENDS_AFTER_S} s; look at its log"
FAULTS = {
    "another password": (2, "refuses us; set PREFECT_API_AUTH_STRING to its user:password"),
    "a login page": (2, "must answer as the API of a Prefect server; received HTTP 200 with text/html, as of a proxy"),
    HANGS: (3, TOO_LATE),
}
RARER = {
    "a broken database": (3, "does not serve us; look at its log and its database (HTTP 500)"),
    "busy for an hour": (3, TOO_LATE),
    GONE: (3, TOO_LATE),
}


@pytest.fixture
def server(prefect_api: str) -> Iterator[SwitchedServer]:
    with switched_server(prefect_api) as switched:
        yield switched


@pytest.fixture
def begin(server: SwitchedServer, commands: Commands, tmp_path: Path) -> "Callable[[float], subprocess.Popen[str]]":
    """Begins a run that goes on as soon as `changed` is there, and waits so long for its server."""

    def begin(ends_after_s: float) -> "subprocess.Popen[str]":
        (tmp_path / "run.py").write_text(RUN)
        process = subprocess.Popen(
            [sys.executable, "run.py", str(ends_after_s)],
            cwd=tmp_path,
            env={**commands.environment, "PREFECT_API_URL": server.url, "PYTHONPATH": str(REPOSITORY)},
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: (tmp_path / "begun").exists() or process.poll() is not None)
        return process

    return begin


@pytest.mark.parametrize("fault", [*FAULTS, *(pytest.param(each, marks=pytest.mark.slow) for each in RARER)])
def test_a_server_that_no_longer_serves_a_run_ends_it_in_time_with_one_line(
    fault: str, begin: "Callable[[float], subprocess.Popen[str]]", server: SwitchedServer, tmp_path: Path
) -> None:
    code, says = {**FAULTS, **RARER}[fault]
    run = begin(ENDS_AFTER_S)
    server.switch_on(fault)
    (tmp_path / "changed").touch()
    began = time.monotonic()
    _, said = run.communicate(timeout=100)
    assert time.monotonic() - began < ENDS_AFTER_S + 10
    assert run.returncode == code, said
    assert "Traceback" not in said, said
    assert "Error logging to API" not in said
    assert max(map(len, said.splitlines())) < 500, "no event is shown as a whole"
    last = said.splitlines()[-1]
    assert last.startswith(f"error: the Prefect server {server.url} {says}"), said
    assert last.endswith("; run the same command again to go on from the last checkpoint")
    if says == TOO_LATE:
        assert "has not served us for 1 s; waiting for it, 4 s more" in said


@pytest.mark.slow
@pytest.mark.parametrize("fault", [HANGS, GONE, "busy for an hour"])
def test_a_server_that_is_back_in_time_ends_no_run(
    fault: str, begin: "Callable[[float], subprocess.Popen[str]]", server: SwitchedServer, tmp_path: Path
) -> None:
    run = begin(60)
    server.switch_on(fault)
    (tmp_path / "changed").touch()
    time.sleep(1.5)
    server.switch_on(None)
    _, said = run.communicate(timeout=100)
    assert run.returncode == 0, said
    assert "has not served us for 1 s; waiting for it, 59 s more" in said
