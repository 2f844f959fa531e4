"""Temporary folders and databases that do not outlive their process for long.

What killed processes leave of folders, the next one removes. Of a database they leave nothing: its files have no names.
"""

import fcntl
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lib.files import open_lock

PREFIX = "image-training-flows-work-"
LOCK = ".lock"
SPARED_S = 3600.0
"""Since its last change: a folder that was made just now is not locked yet, and elsewhere a lock may not be seen."""
CACHE_KIB = 32 << 10


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder of this process alone below TMPDIR, gone afterwards.

    It is locked while it is in use: a lock dies with its process, a process id may be another's by then. What is locked
    is a file that is opened for writing, as NFS asks for.
    """
    _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name, open_lock(Path(name) / LOCK) as lock:
        with suppress(OSError):  # a file system without locks gives none to who would remove it either
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(name)


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError), _opened(folder) as descriptor:  # another's, or another process removes it
            found = os.fstat(descriptor)
            if found.st_uid == os.getuid() and time.time() - found.st_mtime > SPARED_S:
                _require_no_owner(descriptor)
                shutil.rmtree(folder)


def _require_no_owner(folder: int) -> None:
    """Raise OSError where a living one holds its lock, or that is not known."""
    try:
        lock = os.open(LOCK, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:  # killed before it made one
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(lock)  # NFS would keep an open file, and so its folder


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def temporary_database() -> sqlite3.Connection:
    """An empty database below TMPDIR, gone once it is closed.

    It takes CACHE_KIB of memory, and as much again while it sorts, whatever is in it. Raises sqlite3.OperationalError
    where the disk is full, which `lib.runtime.failures` knows.
    """
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)  # "" is a file that SQLite unlinks
    for setting in (f"cache_size = -{CACHE_KIB}", "temp_store = FILE", "journal_mode = OFF"):
        database.execute(f"PRAGMA {setting}")
    database.execute("BEGIN")  # one transaction, never committed: as fast as it can be, and nothing is to be kept
    return database
