"""Local copies of an S3 store's files: each under its digest, checked whenever it is asked for, and not too many.

Processes share the folder. A lock on it keeps a copy that one of them was just given from being removed by another.
"""

import fcntl
import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from lib.errors import PermanentError
from lib.files import first_free_space, open_lock, open_regular
from lib.store.contract import OURS, PARTIAL, check_content, check_path, check_stored_size

COPIES = f"{'[0-9a-f]' * 2}/{'[0-9a-f]' * 64}/*"
SPARED_S = 3600.0
"""Since its last use: whoever was given a copy has opened it by then, and what is open outlives its name."""
MEASURED_EACH = 100
"""The folder is measured again when this part of its size has come."""


@dataclass
class Cache:
    """A folder of at most `max_bytes`, made at its first use. Its errors are PermanentError."""

    folder: Path
    max_bytes: int
    spared_s: float = SPARED_S
    _came_bytes: int | None = field(default=None, init=False)
    """Since the folder was measured; None before the first time."""

    def copy(self, path: str, sha256: str, size_bytes: int, download: Callable[[BinaryIO], None]) -> Path:
        """The copy of what the store has at `path`, brought by `download` where there is none or a damaged one."""
        # The name stays: keras goes by its suffix, and an error should say what it is about.
        name = f"{sha256}/{PurePosixPath(check_path(path)).name}"
        return self._copy(name, lambda file: check_content(file, sha256, size_bytes, path), download)

    def copy_of_version(
        self, address: str, version: str, size_bytes: int, download: Callable[[BinaryIO], None]
    ) -> Path:
        """The copy of what lies at `address` in that version. Nobody knows its digest: its size alone is checked."""
        key = hashlib.sha256("\0".join((address, version)).encode()).hexdigest()
        name = f"{key}/copy{PurePosixPath(address).suffix}"
        return self._copy(name, lambda file: check_stored_size(file.stat().st_size, size_bytes, address), download)

    def _copy(self, name: str, check: Callable[[Path], object], download: Callable[[BinaryIO], None]) -> Path:
        copy = self.folder / name[:2] / name
        try:
            self._sweep()
            if self._use(copy):
                with suppress(PermanentError):  # a damaged copy is fetched anew
                    check(copy)
                    return copy
            self._bring(copy, check, download)
            self._shrink(copy.stat().st_size)
            return copy
        except OSError as error:
            raise PermanentError(
                f"CACHE_DIR must be a folder that can be written; received {self.folder}: {error.strerror}; "
                f"{first_free_space(error)}set CACHE_DIR to another place"
            ) from error

    def _use(self, copy: Path) -> bool:
        """Note that `copy` is used now; False where there is none."""
        if not copy.is_file():
            return False
        try:
            with self._locked(fcntl.LOCK_SH):
                os.utime(copy)
        except FileNotFoundError:
            return False
        except PermissionError:  # a folder that others fill
            pass
        return True

    def _bring(self, copy: Path, check: Callable[[Path], object], download: Callable[[BinaryIO], None]) -> None:
        with _partial(self.folder) as (partial, stream):
            download(stream)
            stream.flush()
            check(partial)
            with self._locked(fcntl.LOCK_SH):
                copy.parent.mkdir(parents=True, exist_ok=True)
                partial.replace(copy)

    def _sweep(self) -> None:
        """Remove what killed processes were bringing, once for each store that is opened."""
        if self._came_bytes is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._came_bytes = self.max_bytes
            for partial in self.folder.glob(f"{PARTIAL}*"):
                if not OURS.fullmatch(partial.name):
                    continue
                with suppress(OSError, PermanentError), open_regular(partial) as stream:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a living owner holds it
                    partial.unlink(missing_ok=True)

    def _shrink(self, came_bytes: int) -> None:
        """Remove the copies that were used least recently, until the folder keeps its bound."""
        self._came_bytes = (self._came_bytes or 0) + came_bytes
        if self._came_bytes < self.max_bytes / MEASURED_EACH:
            return
        self._came_bytes = 0
        with self._locked(fcntl.LOCK_EX):
            copies = sorted((copy.stat().st_mtime, copy.stat().st_size, copy) for copy in self.folder.glob(COPIES))
            too_many = sum(size for _, size, _ in copies) - self.max_bytes
            for used_at, size, copy in copies:
                if too_many <= 0 or used_at > time.time() - self.spared_s:
                    return
                copy.unlink()
                with suppress(OSError):  # another name of the same content lies there
                    copy.parent.rmdir()
                too_many -= size

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        with open_lock(self.folder / ".lock") as lock:
            fcntl.flock(lock, how)
            yield


@contextmanager
def _partial(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file that is known to have a living owner until it has been moved or is gone."""
    while True:
        partial = folder / f"{PARTIAL}{uuid.uuid4().hex}"
        with partial.open("x+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            if os.fstat(stream.fileno()).st_nlink == 0:  # swept before it was locked
                continue
            try:
                yield partial, stream
            finally:
                partial.unlink(missing_ok=True)
            return
