"""Temporary folders of living processes stay, those of killed ones go; databases go with their processes."""

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


DATABASE = """
import os, sys
import lib.command_line, lib.runtime.failures  # what a command imports before it reads .env
os.environ["TMPDIR"] = sys.argv[1]
from pathlib import Path
from lib import temporary
temporary.CACHE_KIB = 64
database = temporary.temporary_database()
database.execute("CREATE TABLE numbers (number, data)")
rows = ((number * 7 % 5_000, bytes(1_000)) for number in range(5_000))
database.executemany("INSERT INTO numbers VALUES (?, ?)", rows)
ordered = database.execute("SELECT number, data FROM numbers ORDER BY number")
print(next(ordered)[0], next(ordered)[0])
print(*sorted(os.readlink(each) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()), sep="\\n")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says which files a process has open")
def test_a_database_and_what_it_sorts_lie_below_tmpdir_in_files_without_a_name(parent: Path) -> None:
    (parent / "from .env").mkdir()
    command = [sys.executable, "-c", DATABASE, str(parent / "from .env")]
    environment = {name: value for name, value in os.environ.items() if name != "TMPDIR"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True, text=True)
    first, *opened = done.stdout.splitlines()
    assert first == "0 1"
    unlinked = [each for each in opened if each.startswith(f"{parent}/from .env/") and each.endswith(" (deleted)")]
    assert len(unlinked) == 2
    assert [*(parent / "from .env").iterdir()] == []
