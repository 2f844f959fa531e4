"""The trial stack's PostgreSQL after a power cut."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.running_stack import REPOSITORY

START = "import sys, pathlib, deployments.postgres as it; print(it.start(pathlib.Path(sys.argv[1]))[0])"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "postgres"


def start(folder: Path) -> int:
    """Its process id."""
    command = [sys.executable, "-c", START, str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_locks_whose_process_id_is_another_programs_now_are_forgotten(folder: Path) -> None:
    killed = start(folder)
    processes = [psutil.Process(killed), *psutil.Process(killed).children()]
    for process in processes:
        process.kill()
    psutil.wait_procs(processes)  # one that still ends holds the shared memory
    ours = str(os.getpid())
    lock = folder / "postmaster.pid"
    lock.write_text(lock.read_text().replace(str(killed), ours, 1))
    next(folder.parent.rglob(".s.PGSQL.5432.lock")).write_text(f"{ours}\n")
    again = start(folder)
    assert again not in {killed, os.getpid()}
    assert start(folder) == again, "one that runs is found"
    os.kill(again, signal.SIGINT)


def test_a_lock_that_was_cut_is_forgotten(folder: Path) -> None:
    folder.mkdir()
    (folder / "postmaster.pid").write_text("1\n")
    os.kill(start(folder), signal.SIGINT)
