"""Temporary folders of living processes stay, those of killed ones go."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from lib.settings import REPOSITORY
from lib.temporary import PREFIX, temporary_folder

KILLED = """
import os, signal
from lib.temporary import temporary_folder
with temporary_folder() as folder:
    (folder / "half").write_bytes(b"download")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def aged(folder: Path, age_s: float = 7200) -> Path:
    os.utime(folder, (time.time() - age_s,) * 2)
    return folder


def test_a_folder_is_gone_afterwards(parent: Path) -> None:
    with temporary_folder() as folder:
        assert folder.parent == parent
        (folder / "file").write_bytes(b"")
    assert not list(parent.iterdir())


def test_what_a_killed_process_left_goes_after_an_hour(parent: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED], cwd=REPOSITORY, check=False)
    assert ended.returncode == -signal.SIGKILL
    (left,) = parent.iterdir()
    with temporary_folder():
        assert (left / "half").exists()
    aged(left)
    with temporary_folder():
        assert not left.exists()


def test_a_folder_in_use_stays_however_old_it_is() -> None:
    with temporary_folder() as used:
        aged(used)
        with temporary_folder():
            assert used.is_dir()


@pytest.mark.parametrize("refused", ["what is only read", "all"])
def test_a_folder_in_use_stays_on_a_network_share_that_refuses_locks(
    refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock

    def flock(file: int, how: int) -> None:
        if refused == "all" or fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with temporary_folder() as used:
        aged(used)
        with temporary_folder():
            assert used.is_dir()
    assert not used.exists()


def test_what_was_killed_before_it_had_a_lock_goes_too(parent: Path) -> None:
    (left := parent / f"{PREFIX}left").mkdir()
    with temporary_folder():
        assert left.exists()
    aged(left)
    with temporary_folder():
        assert not left.exists()


def test_a_link_in_place_of_a_folder_is_not_followed(parent: Path) -> None:
    (parent / "kept").mkdir()
    aged(parent / "kept")
    (parent / f"{PREFIX}link").symlink_to("kept")
    with temporary_folder():
        assert (parent / "kept").is_dir()
