"""Temporary folders that do not outlive their process for long: the next one removes what killed ones left."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "image-training-flows-work-"
SPARED_S = 3600.0
"""Since its last change: a folder that was made just now is not locked yet, and elsewhere a lock may not be seen."""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder of this process alone below TMPDIR, gone afterwards.

    It is locked while it is in use: a lock dies with its process, a process id may be another's by then.
    """
    _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name, _opened(Path(name)) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield Path(name)


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError), _opened(folder) as descriptor:  # another's, or another process removes it
            found = os.fstat(descriptor)
            if found.st_uid == os.getuid() and time.time() - found.st_mtime > SPARED_S:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a living owner holds it
                shutil.rmtree(folder)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
