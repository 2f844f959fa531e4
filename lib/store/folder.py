"""The store contract on a local folder."""

import errno
import fcntl
import hashlib
import itertools
import math
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lib.errors import NotFound, PermanentError, TransientError
from lib.files import LEADS_NOWHERE, check_regular, digest_and_size, first_free_space, open_lock, read_regular
from lib.store.contract import LARGEST_RECORD_BYTES, OURS, PARTIAL, check_content, check_names, check_path, check_source

LOCK = ".lock"
"""Beside the folders of the store, so that no listing shows it."""

AWAY = {errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN}
"""What network file systems say for a while."""
WITHOUT_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""What file systems answer that have no hard links."""


class LocalStore:
    """A folder, made at the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.uri = str(self.root)

    def _at(self, path: str) -> Path:
        return self.root / check_path(path)

    def read(self, path: str, max_bytes: int = LARGEST_RECORD_BYTES) -> bytes:
        with _explained(self.root, "read", path), self._found(path) as file:
            return read_regular(file, max_bytes)

    def digest(self, path: str, max_bytes: int) -> tuple[str, int]:
        with _explained(self.root, "read", path), self._found(path) as file:
            return digest_and_size(file, max_bytes)

    def read_version(self, path: str) -> tuple[bytes, str]:
        data = self.read(path)
        return data, hashlib.sha256(data).hexdigest()

    def write(self, path: str, data: bytes | Path) -> None:
        check_source(data)
        with _explained(self.root, "written"), self._partial(path, data) as partial:
            check_regular(self._at(path))
            partial.replace(self._at(path))
            _sync(partial.parent)

    def create(self, path: str, data: bytes) -> bool:
        with _explained(self.root, "written"), self._partial(path, data) as partial:
            try:
                self._link(partial, self._at(path))
            except FileExistsError:
                check_regular(self._at(path))  # or whoever reads it next finds nothing, and tries this again
                return False
            _sync(partial.parent)
            return True

    def _link(self, file: Path, name: Path) -> None:
        try:
            os.link(file, name)
        except OSError as error:
            if error.errno not in WITHOUT_LINKS:
                raise
            raise PermanentError(
                f"the store must lie on a file system with hard links, as exFAT and many network shares are not; "
                f"received {self.root}: {error.strerror}; set STORE_URI or --store to another place"
            ) from error

    def require_links(self) -> None:
        """Raise PermanentError where `create` could not work; makes nothing that stays, not even the folder."""
        there = next(each for each in (self.root, *self.root.parents) if each.exists())
        probe, link = (there / f"{PARTIAL}{uuid.uuid4().hex}" for _ in range(2))
        with _explained(self.root, "written"):
            try:
                probe.touch()
                self._link(probe, link)
            finally:
                for each in (link, probe):
                    each.unlink(missing_ok=True)

    def replace(self, path: str, data: bytes, version: str) -> bool:
        check_names(path)
        with self._locked():
            try:
                unchanged = self.read_version(path)[1] == version
            except NotFound:
                return False
            if unchanged:
                self.write(path, data)
            return unchanged

    def delete(self, path: str) -> None:
        with _explained(self.root, "written"):
            self._at(path).unlink(missing_ok=True)

    def exists(self, path: str) -> bool:
        with _explained(self.root, "read"):
            return self._at(path).is_file()

    def incomplete_uploads(self, prefix: str, older_than_s: float) -> list[str]:
        latest = time.time() - older_than_s
        with _explained(self.root, "read"):
            partials = (p for p in self._walk(self._at(prefix)) if OURS.fullmatch(p.name) and _written_at(p) <= latest)
            return sorted(p.relative_to(self.root).as_posix() for p in partials)

    def discard(self, incomplete_upload: str) -> None:
        self.delete(incomplete_upload)

    def list(self, prefix: str) -> list[str]:
        with _explained(self.root, "read"):
            return sorted(p.relative_to(self.root).as_posix() for p in self._files(prefix))

    def ages(self, prefix: str) -> dict[str, float]:
        with _explained(self.root, "read"):
            written_at = {p.relative_to(self.root).as_posix(): _written_at(p) for p in self._files(prefix)}
            now = _now(self._at(prefix)) if written_at else 0
        return {path: max(0.0, now - at) for path, at in written_at.items() if at < math.inf}

    def age(self, path: str) -> float | None:
        with _explained(self.root, "read"):
            written_at = _written_at(self._at(path))
            return max(0.0, _now(self._at(path).parent) - written_at) if written_at < math.inf else None

    def names(self) -> set[str]:
        """What lies at its top, apart from what is hidden; nothing where there is no folder yet."""
        with _explained(self.root, "read"):
            found = self.root.iterdir() if self.root.is_dir() else ()
            return {each.name for each in found if not each.name.startswith(".")}

    def _files(self, prefix: str) -> Iterator[Path]:
        """With what is in the place of a file: hidden, a damaged output would read as one that was never finished."""
        return (p for p in self._walk(self._at(prefix)) if PARTIAL not in p.name)

    def _walk(self, folder: Path) -> Iterator[Path]:
        if why := why_no_folder(self.root):  # it would read as an empty store
            raise OSError(errno.ENOTDIR, why, self.uri)
        return _walk(folder)

    def local_path(self, path: str, sha256: str, size_bytes: int) -> Path:
        with _explained(self.root, "read", path), self._found(path) as file:
            return check_content(file, sha256, size_bytes, path)

    def url(self, path: str) -> str:
        return self._at(path).as_uri()

    @contextmanager
    def _found(self, path: str) -> Iterator[Path]:
        try:
            yield self._at(path)
        except FileNotFoundError as error:
            raise NotFound(f"nothing is stored at {path} in {self.uri}") from error

    @contextmanager
    def _partial(self, path: str, data: bytes | Path) -> Iterator[Path]:
        """A complete, flushed copy of `data` beside `path`, gone afterwards."""
        check_names(path)
        folder = self._at(path).parent
        _make(folder)
        partial = folder / f"{PARTIAL}{uuid.uuid4().hex}"  # not by tempfile, whose files no other user may read
        try:
            with partial.open("xb") as stream:
                _copy(data, stream)
                stream.flush()
                os.fsync(stream.fileno())
            yield partial
        finally:
            partial.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """By a file that is opened for writing, as NFS asks for; a dead owner holds nothing. It is gone afterwards."""
        file = self.root / LOCK
        with _explained(self.root, "written"):
            _make(self.root)
            while True:
                with open_lock(file) as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    if not _is_still_at(file, lock):
                        continue  # the owner before has removed it
                    try:
                        yield
                    finally:
                        file.unlink(missing_ok=True)
                    return


def why_no_folder(path: Path) -> str:
    """Why what lies at `path` is no folder; empty where it is one, or nothing lies there."""
    if not path.exists():
        return LEADS_NOWHERE if path.is_symlink() else ""
    return "" if path.is_dir() else os.strerror(errno.ENOTDIR)


def _is_still_at(file: Path, opened: BinaryIO) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(opened.fileno()))
    except FileNotFoundError:
        return False


def _walk(root: Path) -> Iterator[Path]:
    """Every file under `root`, in folders that are links to others too; a folder that leads back to itself once."""

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):  # removed meanwhile
            raise error

    seen = set()
    for folder, inner, names in os.walk(root, onerror=fail, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            inner.clear()
            continue
        seen.add(real)
        yield from (Path(folder, name) for name in names)


def _written_at(file: Path) -> float:
    """Seconds since the epoch; never, for what is gone: its write ended meanwhile."""
    for follow in (True, False):  # a link that leads nowhere has an age too
        try:
            return file.stat(follow_symlinks=follow).st_mtime
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                raise
    return math.inf


def _now(folder: Path) -> float:
    """Seconds since the epoch by the clock that dates the files in `folder`: on a network share, its server's."""
    probe = folder / f"{PARTIAL}{uuid.uuid4().hex}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:  # a folder that can only be read, such as a backup
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def _make(folder: Path) -> None:
    """With the folders above it, so that it survives a power cut."""
    missing = list(itertools.takewhile(lambda each: not each.exists(), (folder, *folder.parents)))
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        _sync(each.parent)


def _sync(folder: Path) -> None:
    """Put the names in `folder` on the disk: a file's own fsync does not."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy(data: bytes | Path, target: BinaryIO) -> None:
    if isinstance(data, bytes):
        target.write(data)
        return
    with data.open("rb") as source:
        shutil.copyfileobj(source, target, 1 << 20)


def _where(root: Path, error: OSError, path: str | None) -> str:
    """What in the store is meant, where it is not all of it. A read that fails, of a bad sector say, has no name."""
    if path is not None and error.filename is None:
        return f" at {path}"
    in_it = error.filename and error.errno not in {errno.ENAMETOOLONG, errno.ELOOP} and root.is_dir()
    inner = os.path.relpath(error.filename, root) if in_it else ""
    return f" at {inner}" if inner and not inner.startswith(".") else ""


@contextmanager
def _explained(root: Path, action: str, path: str | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            check_names(os.path.relpath(error.filename, root))
        what = f"{error.strerror}{_where(root, error, path)}"
        if error.errno in AWAY:
            raise TransientError(f"the store at {root} did not answer: {what}") from error
        raise PermanentError(
            f"the store must be a folder that can be {action}; received {root}: {what}; "
            f"{first_free_space(error)}set STORE_URI or --store to another place, or mend this one"
        ) from error
