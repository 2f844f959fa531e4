"""What every source of a user's own files promises, and what is common to them: names, places, sizes."""

import re
from pathlib import Path
from typing import NamedTuple, Protocol

from lib.errors import PermanentError, TooLarge, shortened

TABLES = (".parquet", ".csv", ".tsv", ".jsonl")
OPTION = "--from"
RULE = f"{OPTION} must be a folder, a file of the kinds {', '.join(TABLES)}, or s3://bucket/prefix"
IGNORED = {"thumbs.db", "desktop.ini", "@eadir", "__macosx"}
"""What systems leave beside images, in small letters; all that begins with a dot is ignored too."""
MOST_FILES = 20_000_000
ODD = re.compile("[\x00-\x1f\x7f-\x9f\\\\\u2028\u2029\ud800-\udfff]")
"""What a place shows escaped: the same with every version of Python, as `str.isprintable` is not."""


class SourceFile(NamedTuple):
    """One file: `path` is relative and `/`-separated; bytes that are no UTF-8 are in it as `os.fsdecode` has them."""

    path: str
    size_bytes: int


class Refused(NamedTuple):
    """What was left out, and why."""

    place: str
    reason: str


class Source(Protocol):
    """Files to read. Errors are NotFound, PermanentError or TransientError."""

    uri: str
    """To be shown: without secrets."""
    table: str | None
    """The path of the one file that was named, which is then its only file; None for a folder or a prefix."""
    refused: list[Refused]
    """Complete once `files` was called."""

    def files(self) -> list[SourceFile]:
        """All files, by the bytes of their paths. Raises PermanentError where there are none."""

    def read(self, path: str, max_bytes: int) -> bytes:
        """The content of `path`, listed or not, within the source. Raises NotFound, or TooLarge."""

    def local(self, path: str) -> Path:
        """A local file with the content of `path`, which must be one of `files`; to be opened within the hour."""


def place_of(path: str) -> str:
    """`path` as text that can be written anywhere: what is odd in it is escaped, so that no two paths look the same."""
    return ODD.sub(lambda each: each[0].encode("unicode_escape").decode(), path)


def path_order(path: str) -> bytes:
    """To sort paths by: their bytes, which no language setting changes."""
    return path.encode("utf-8", "surrogateescape")


def is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in IGNORED


def no_files(source: Source) -> PermanentError:
    refused = source.refused
    first = f"; {len(refused):,} refused, such as {': '.join(map(shortened, refused[0]))}" if refused else ""
    return PermanentError(f"{OPTION} must name a place with files; received {source.uri}, which has none{first}")


def check_fits(place: str, size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise TooLarge(f"{place} must have at most {max_bytes:,} bytes; received {size_bytes:,}; make it smaller")
