"""Where a user's own images lie: a folder, a file, or a prefix of a bucket. Nothing is ever written to one."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from lib import addresses
from lib.errors import NotFound, PermanentError, TooLarge, TransientError, shortened
from lib.files import LEADS_NOWHERE, open_regular
from lib.images.source_files import (
    MOST_FILES,
    OPTION,
    RULE,
    TABLES,
    Paths,
    Refused,
    Source,
    check_fits,
    is_ignored,
    no_files,
    path_order,
    place_of,
)
from lib.lineage.folders import folders
from lib.redaction import without_secrets
from lib.settings import read_settings
from lib.store.cache import Cache
from lib.store.s3 import checked_listing, listing_pages, read_object, s3_client, s3_errors

__all__ = ["Refused", "Source", "check_apart", "open_source"]

KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def open_source(uri: str, cache_dir: Path) -> Source:
    """The source at `uri`: a folder's or table's path, `file:///…`, or `s3://bucket/…`.

    Copies of tables in S3 go to `cache_dir`, which is kept at CACHE_MAX_GB. Raises PermanentError where nothing of
    these kinds lies there.
    """
    if uri.startswith("s3:"):
        return _open_s3(uri, Cache(cache_dir, int(read_settings().cache_max_gb * 1e9)))
    path = addresses.folder(uri, RULE).absolute()
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise PermanentError(f"{RULE}; received {path}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        return FolderSource(path)
    if not stat.S_ISREG(mode) or path.suffix.lower() not in TABLES:
        raise _other_kind(str(path), KINDS.get(stat.S_IFMT(mode), "another file"))
    return FolderSource(path.parent, path.name)


def check_apart(uri: str, store_uri: str) -> None:
    """Raise PermanentError where the source at `uri` holds the store at `store_uri`, or lies in one of its folders.

    What a store keeps would be taken for images, or removed from it when the source is tidied up. Beside the folders of
    a store, as under a prefix of its bucket, images are left alone.
    """
    source, store = map(_whole_address, (uri, store_uri))
    if _is_within(store, source) or any(_is_within(source, f"{store}/{name}") for name in folders()):
        raise PermanentError(
            f"{OPTION} must not hold the store, nor lie in a folder of its own; received "
            f"{shortened(without_secrets(uri))} and the store {shortened(without_secrets(store_uri))}; name another "
            "store by --store or STORE_URI"
        )


def _whole_address(uri: str) -> str:
    if uri.startswith("s3:"):
        return f"s3://{'/'.join(addresses.bucket_and_key(uri, RULE))}".rstrip("/")
    return os.path.realpath(addresses.folder(uri, RULE))


def _other_kind(place: str, kind: str) -> PermanentError:
    return PermanentError(f"{RULE}; received {place}, {kind}; unpack or convert it, or name its folder")


class FolderSource:
    """A folder of this machine, or one file of it."""

    def __init__(self, root: Path, table: str | None = None) -> None:
        self.root = os.path.realpath(root)
        self.table = table
        self.uri = str(root / table if table else root)
        self._folder = str(root)
        self.refused: list[Refused] = []
        self._paths: Paths | None = None

    def paths(self) -> Paths:
        if not self._paths:
            self.refused.clear()
            found: list[str] = []
            with self._explained(self.table or ""):
                if self.table:
                    self._note(self.table, self._at(self.table).stat(), found)
                else:
                    self._list(found)
            self._paths = Paths(found)
        if not self._paths:
            raise no_files(self)
        return self._paths

    def read(self, path: str, max_bytes: int) -> bytes:
        place = f"{place_of(path)} in {self._folder}"
        with self._explained(path), open_regular(self._at(path)) as stream:
            size = os.fstat(stream.fileno()).st_size
            check_fits(place, size, max_bytes)
            data = stream.read(size + 1)
        check_fits(place, len(data), max_bytes)
        return data

    def state(self, path: str) -> str:
        try:
            status = self._at(path).stat()
        except (OSError, PermanentError):  # reading it says why
            return ""
        return f"{status.st_size} bytes, {status.st_mtime_ns} ns"

    def local(self, path: str) -> Path:
        with self._explained(path), open_regular(self._at(path)):
            return self._at(path)

    def _at(self, path: str) -> Path:
        if path == self.table:  # it may be a link to anywhere: it was named
            return Path(self.root, path)
        real = os.path.realpath(Path(self.root, path)) if "\0" not in path else ""
        if not _is_within(real, self.root):
            raise PermanentError(
                f"a path must stay in {self._folder}; received {shortened(place_of(path))}; copy it there"
            )
        return Path(real)

    def _list(self, found: list[str]) -> None:
        links: list[str] = []
        self._walk(self.root, "", found, links)
        for path in sorted(links, key=path_order):
            self._follow(path, found)

    def _walk(self, folder: str, prefix: str, found: list[str], links: list[str]) -> None:
        """Note the files in `folder` under `prefix`, and in `links` the paths of links, which are not followed."""
        waiting = [(folder, prefix)]
        while waiting:
            folder, prefix = waiting.pop()
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_ignored(entry.name):
                        continue
                    path = prefix + entry.name
                    if entry.is_symlink():
                        links.append(path)
                    elif entry.is_dir(follow_symlinks=False):
                        waiting.append((entry.path, f"{path}/"))
                    else:
                        self._note(path, entry.stat(follow_symlinks=False), found)

    def _follow(self, path: str, found: list[str]) -> None:
        """Note what the link at `path` leads to. Links beyond it are refused: there could be any number of ways."""
        link = str(Path(self.root, path))
        real = os.path.realpath(link)
        try:
            status = Path(real).stat()
        except OSError:
            return self._refuse(path, LEADS_NOWHERE.replace("Is a", "a"))
        if not _is_within(real, self.root):
            return self._refuse(path, "a link that leads out of the folder; copy what it leads to")
        if not stat.S_ISDIR(status.st_mode):
            return self._note(path, status, found)
        if _is_within(link, real):
            return self._refuse(path, "a link that leads back to a folder it lies in")
        further: list[str] = []
        self._walk(real, f"{path}/", found, further)
        for each in sorted(further, key=path_order):
            self._refuse(each, "a link in a folder that a link leads to")
        return None

    def _note(self, path: str, status: os.stat_result, found: list[str]) -> None:
        if not stat.S_ISREG(status.st_mode):
            return self._refuse(path, KINDS.get(stat.S_IFMT(status.st_mode), "no file"))
        found.append(path)
        if len(found) > MOST_FILES:
            raise PermanentError(f"{OPTION} must name at most {MOST_FILES:,} files; received more in {self.uri}")
        return None

    def _refuse(self, path: str, reason: str) -> None:
        self.refused.append(Refused(place_of(path), reason))

    @contextmanager
    def _explained(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"nothing lies at {shortened(place_of(path))} in {self._folder}") from error
        except OSError as error:
            where = os.path.relpath(error.filename, self.root) if isinstance(error.filename, str) else path
            raise PermanentError(
                f"{self.uri} must be readable; received {error.strerror} at {shortened(place_of(where))}; "
                f"allow it, or name another place by {OPTION}"
            ) from error


def _is_within(path: str, folder: str) -> bool:
    """Both real and absolute."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


class S3Source:
    """Objects under one prefix of a bucket, or one object. Of each, about 350 bytes are in memory, and its path."""

    def __init__(self, bucket: str, prefix: str, cache: Cache, table: dict[str, Any] | None = None) -> None:
        """`table`: what a listing says of the one object."""
        self._bucket, self._cache = bucket, cache
        self._start = f"{prefix}/" if prefix else ""
        self.table = table["Key"].removeprefix(self._start) if table else None
        self.uri = f"s3://{bucket}/{self._start}{self.table or ''}".rstrip("/")
        self.refused: list[Refused] = []
        self._entries = {self.table: (table["Size"], table["ETag"])} if self.table and table else {}

    def paths(self) -> Paths:
        if not self._entries:
            with s3_errors(self.uri, OPTION):
                self._list()
        if not self._entries:
            raise no_files(self)
        return Paths(self._entries)

    def _list(self) -> None:
        self.refused.clear()
        for page in listing_pages(s3_client(), self._bucket, self._start):
            for entry in page.get("Contents", []):
                path = str(entry["Key"]).removeprefix(self._start)
                parts = path.split("/")
                if path.endswith("/") or not path or any(map(is_ignored, set(parts) - {".", ".."})):
                    continue  # a folder, as consoles make them
                if {"", ".", ".."} & set(parts):
                    self.refused.append(Refused(place_of(path), "a key with parts that are empty, . or .."))
                    continue
                self._entries[path] = entry["Size"], entry["ETag"]
            if len(self._entries) > MOST_FILES:
                raise PermanentError(f"{OPTION} must name at most {MOST_FILES:,} files; received more in {self.uri}")

    def read(self, path: str, max_bytes: int) -> bytes:
        address = self._address(path)
        if path in self._entries:
            check_fits(address, self._entries[path][0], max_bytes)
        with s3_errors(address, OPTION):
            try:
                return read_object(s3_client(), {"Bucket": self._bucket, "Key": self._start + path}, max_bytes)[0]
            except TooLarge:
                raise TooLarge(f"{address} must have at most {max_bytes:,} bytes; received more") from None

    def state(self, path: str) -> str:
        size, version = self._entries.get(path, (0, ""))
        return f"{size} bytes, {version}" if version else ""

    def local(self, path: str) -> Path:
        address = self._address(path)
        if path not in self._entries:
            raise NotFound(f"nothing lies at {address}")
        size, version = self._entries[path]

        def download(stream: BinaryIO) -> None:
            with s3_errors(address, OPTION):
                s3_client().download_fileobj(self._bucket, self._start + path, stream)
            if stream.seek(0, os.SEEK_END) != size:
                raise TransientError(f"{address} must stay as it is; received another size than was listed; run again")

        return self._cache.copy_of_version(address, version, size, download)

    def _address(self, path: str) -> str:
        return f"s3://{self._bucket}/{self._start}{place_of(path)}"


def _open_s3(uri: str, cache: Cache) -> S3Source:
    bucket, key = addresses.bucket_and_key(uri, RULE)
    named = None
    if key and not uri.endswith("/"):
        with s3_errors(shown := without_secrets(uri), OPTION):
            page = checked_listing(s3_client().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1))
        named = next((entry for entry in page.get("Contents", []) if entry["Key"] == key), None)
    if named is None:
        return S3Source(bucket, key, cache)
    if PurePosixPath(key).suffix.lower() not in TABLES:
        raise _other_kind(shown, "another file")
    return S3Source(bucket, key.rpartition("/")[0], cache, named)
