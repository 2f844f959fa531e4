"""Runs that each start a Prefect server of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import REPOSITORY, Commands


@pytest.mark.slow
def test_a_server_of_ones_own_is_found_where_the_settings_move_servers(tmp_path: Path) -> None:
    alone = Commands("", tmp_path / "cache")
    del alone.environment["PREFECT_API_URL"]
    places = {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_SERVER_API_BASE_PATH": "/elsewhere"}
    done = alone.run("flows.ingest", "--store", str(tmp_path / "store"), **places)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_first_runs_that_start_together_share_a_new_database(commands: Commands, tmp_path: Path) -> None:
    alone = {name: value for name, value in commands.environment.items() if name != "PREFECT_API_URL"}
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "flows.ingest", "--store", str(tmp_path / f"store-{number}")],
            cwd=REPOSITORY,
            env={**alone, "PREFECT_HOME": str(tmp_path / "prefect")},
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    said = [run.communicate(timeout=280)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], said
