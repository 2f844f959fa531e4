"""What every source of a user's own files promises, and what is common to them: names, places, sizes."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, overload

from lib.errors import PermanentError, TooLarge, shortened

TABLES = (".parquet", ".csv", ".tsv", ".jsonl")
OPTION = "--from"
RULE = f"{OPTION} must be a folder, a file of the kinds {', '.join(TABLES)}, or s3://bucket/prefix"
IGNORED = {"thumbs.db", "desktop.ini", "@eadir", "__macosx"}
"""What systems leave beside images, in small letters; all that begins with a dot is ignored too."""
MOST_FILES = 20_000_000
ODD = re.compile("[\x00-\x1f\x7f-\x9f\\\\\u2028\u2029\ud800-\udfff]")
"""What a place shows escaped: the same with every version of Python, as `str.isprintable` is not."""


class Paths(Sequence[str]):
    """Of files, sorted by their bytes, each relative and `/`-separated; what is no UTF-8 is as `os.fsdecode` has it.

    All that is in memory of a folder's files: about 80 bytes each and its length; twice that while they are sorted.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = sorted(paths, key=path_order)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        return self._paths[place]

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __contains__(self, path: object) -> bool:
        place = bisect_left(self._paths, path_order(str(path)), key=path_order)
        return place < len(self._paths) and self._paths[place] == path


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
    """Complete once `paths` was called."""

    def paths(self) -> "Paths":
        """Those of all files. Raises PermanentError where there are none."""

    def read(self, path: str, max_bytes: int) -> bytes:
        """The content of `path`, listed or not, within the source. Raises NotFound, or TooLarge."""

    def state(self, path: str) -> str:
        """What of `path` changes with its content, told without reading it; empty where nothing is known of it."""

    def local(self, path: str) -> Path:
        """A local file with the content of `path`, which must be one of `paths`; to be opened within the hour."""


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
