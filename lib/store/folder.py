"""Object storage behind one small contract: a local folder here, S3 in `lib.s3`.

Paths are relative, `/`-separated and stay inside the store. Errors are `NotFound`, `PermanentError` (denied,
missing, full) or `TransientError` (unreachable, throttled), never the library's own.
"""

import fcntl
import hashlib
import math
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol
from urllib.parse import unquote

from lib.errors import NotFound, PermanentError

PARTIAL = ".partial-"


class Store(Protocol):
    """What every store promises; `tests/lib/test_store.py` holds each implementation to it."""

    uri: str

    def read(self, path: str) -> bytes:
        """The bytes at `path`. Raises NotFound."""

    def read_version(self, path: str) -> tuple[bytes, str]:
        """The bytes at `path` and a version for `replace`. Raises NotFound."""

    def write(self, path: str, data: bytes | Path) -> None:
        """Put `data` (or the file it names) at `path`: whole or not at all, over what was there."""

    def create(self, path: str, data: bytes) -> bool:
        """Put `data` at `path` if nothing is there; False, and nothing changed, if something is."""

    def replace(self, path: str, data: bytes, version: str) -> bool:
        """Put `data` at `path` if it still has `version`; False, and nothing changed, if not."""

    def delete(self, path: str) -> None:
        """Remove `path`; nothing happens where nothing is."""

    def exists(self, path: str) -> bool:
        """Whether something lies at `path`."""

    def cut_writes(self, older_than_s: float) -> list[str]:
        """What writes that were cut by a kill left, hidden from `list`, at least `older_than_s` ago, sorted."""

    def discard(self, cut_write: str) -> None:
        """Remove what `cut_writes` named; nothing happens where nothing is."""

    def list(self, prefix: str) -> list[str]:
        """Every path under the folder `prefix`, sorted."""

    def local_path(self, path: str, sha256: str) -> Path:
        """A local file with the content of `path`, checked against `sha256`. Raises PermanentError on mismatch."""

    def url(self, path: str) -> str:
        """An address a browser can open."""


def check_path(path: str) -> str:
    """`path` without empty parts, so that both stores mean the same by it."""
    plain = PurePosixPath(path)
    if not plain.parts or plain.is_absolute() or ".." in plain.parts or "\0" in path:
        raise PermanentError(f"a store path is relative and stays inside the store; received {path!r}")
    return plain.as_posix()


def check_source(data: bytes | Path) -> None:
    if isinstance(data, Path) and not data.is_file():
        raise PermanentError(f"what is to be stored must be a file; received {data}, which is none")


def check_digest(file: Path, sha256: str, path: str) -> Path:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise PermanentError(
            f"{path} in the store does not match its digest: expected sha256 {sha256}, received {found}; "
            "it was changed after it was written: remove it and its manifest, and run again"
        )
    return file


class LocalStore:
    """A folder, made at the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        self.uri = str(self.root)

    def _at(self, path: str) -> Path:
        return self.root / check_path(path)

    def read(self, path: str) -> bytes:
        with _explained(self.root, "read"):
            try:
                return self._at(path).read_bytes()
            except (FileNotFoundError, IsADirectoryError) as error:
                raise NotFound(f"nothing is stored at {path} in {self.uri}") from error

    def read_version(self, path: str) -> tuple[bytes, str]:
        data = self.read(path)
        return data, hashlib.sha256(data).hexdigest()

    def write(self, path: str, data: bytes | Path) -> None:
        check_source(data)
        with _explained(self.root, "written"), self._partial(path, data) as partial:
            partial.replace(self._at(path))

    def create(self, path: str, data: bytes) -> bool:
        with _explained(self.root, "written"), self._partial(path, data) as partial:
            try:
                os.link(partial, self._at(path))
            except FileExistsError:
                return False
            return True

    def replace(self, path: str, data: bytes, version: str) -> bool:
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

    def cut_writes(self, older_than_s: float) -> list[str]:
        latest = time.time() - older_than_s
        with _explained(self.root, "read"):
            partials = (p for p in self.root.rglob(f"{PARTIAL}*") if _written_at(p) <= latest)
            return sorted(p.relative_to(self.root).as_posix() for p in partials)

    def discard(self, cut_write: str) -> None:
        self.delete(cut_write)

    def list(self, prefix: str) -> list[str]:
        with _explained(self.root, "read"):
            files = (p for p in self._at(prefix).rglob("*") if p.is_file() and PARTIAL not in p.name)
            return sorted(p.relative_to(self.root).as_posix() for p in files)

    def local_path(self, path: str, sha256: str) -> Path:
        if not self.exists(path):
            raise NotFound(f"nothing is stored at {path} in {self.uri}")
        return check_digest(self._at(path), sha256, path)

    def url(self, path: str) -> str:
        return self._at(path).as_uri()

    @contextmanager
    def _partial(self, path: str, data: bytes | Path) -> Iterator[Path]:
        """A complete, flushed copy of `data` beside `path`, gone afterwards."""
        folder = self._at(path).parent
        folder.mkdir(parents=True, exist_ok=True)
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
        """Held by the folder itself, so that a dead owner leaves no lock behind."""
        with _explained(self.root, "written"):
            self.root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.root, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)


def _written_at(file: Path) -> float:
    """Seconds since the epoch; never, for what is gone: its write ended meanwhile."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _copy(data: bytes | Path, target: BinaryIO) -> None:
    if isinstance(data, bytes):
        target.write(data)
        return
    with data.open("rb") as source:
        shutil.copyfileobj(source, target, 1 << 20)


@contextmanager
def _explained(root: Path, action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PermanentError(
            f"the store must be a folder that can be {action}; received {root}: {error.strerror}; "
            "set STORE_URI or --store to another place, or mend this one"
        ) from error


def open_store(uri: str, cache_dir: Path) -> Store:
    """The store at `uri`: a folder path, file://…, or s3://bucket/prefix. Touches nothing yet."""
    if uri.startswith("s3://"):
        from lib.s3 import S3Store

        return S3Store(uri, cache_dir)
    if uri.startswith("file://"):
        return LocalStore(Path(unquote(uri.removeprefix("file://"))))
    if "://" in uri:
        raise PermanentError(f"a store is a folder or s3://bucket/prefix; received {uri!r}")
    return LocalStore(Path(uri))
