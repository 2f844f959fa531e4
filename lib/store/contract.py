"""What every store promises. Paths are relative, `/`-separated and stay inside the store.

Errors are `NotFound`, `PermanentError` (denied, missing, full) or `TransientError` (unreachable, throttled), never the
library's own.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Protocol

from lib.errors import PermanentError, shortened
from lib.files import check_regular, file_digest

LARGEST_RECORD_BYTES = 16 << 20
"""Of what is read whole and is no data: manifests, leases, lists."""
LONGEST_NAME_BYTES = 255
"""As file systems have it."""


PARTIAL = ".partial-"
OURS = re.compile(re.escape(PARTIAL) + "[0-9a-f]{32}")
"""Others may name their files so, where a folder of theirs was taken for a store or a cache by mistake."""


class Store(Protocol):
    """What every store promises; `tests/lib/store/test_store.py` holds each implementation to it."""

    uri: str

    def read(self, path: str, max_bytes: int = LARGEST_RECORD_BYTES) -> bytes:
        """The bytes at `path`. Raises NotFound, or TooLarge where they are more than `max_bytes`."""

    def digest(self, path: str, max_bytes: int) -> tuple[str, int]:
        """sha256 and number of the bytes at `path`, read anew, a part at a time. Raises as `read` does."""

    def read_version(self, path: str) -> tuple[bytes, str]:
        """The bytes of a record at `path` and a version for `replace`. Raises as `read` does."""

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

    def incomplete_uploads(self, prefix: str, older_than_s: float) -> list[str]:
        """Temporary files or multipart uploads under the folder `prefix`, of at least `older_than_s` ago, sorted.

        `list` hides them.
        """

    def discard(self, incomplete_upload: str) -> None:
        """Remove one of `incomplete_uploads`; nothing happens where nothing is."""

    def list(self, prefix: str) -> list[str]:
        """Every path under the folder `prefix`, sorted."""

    def ages(self, prefix: str) -> dict[str, float]:
        """Seconds since each path under the folder `prefix` was last written, by the store's own clock.

        The clock of this machine plays no part, so that machines with wrong clocks agree. Never below 0.
        """

    def age(self, path: str) -> float | None:
        """The same of one path, without a look at those beside it; None where nothing is."""

    def local_path(self, path: str, sha256: str, size_bytes: int) -> Path:
        """A local file with the content of `path`, which must have that digest and size.

        Raises PermanentError on a mismatch; another size is told before anything is read.
        """

    def url(self, path: str) -> str:
        """An address a browser can open."""


def check_path(path: str) -> str:
    """`path` without empty parts, so that both stores mean the same by it."""
    plain = PurePosixPath(path)
    if not plain.parts or plain.is_absolute() or ".." in plain.parts or "\0" in path:
        raise PermanentError(f"a store path is relative and stays inside the store; received {shortened(repr(path))}")
    return plain.as_posix()


def check_names(path: str) -> None:
    """Both kinds of store must be able to write the names in `path`."""
    for name in PurePosixPath(path).parts:
        if (size := len(name.encode(errors="replace"))) > LONGEST_NAME_BYTES:
            raise PermanentError(
                f"a name in a store must have at most {LONGEST_NAME_BYTES} bytes; received {size:,}: "
                f"{shortened(repr(name))}"
            )


def check_source(data: bytes | Path) -> None:
    if isinstance(data, Path) and not data.is_file():
        raise PermanentError(f"what is to be stored must be a file; received {data}, which is none")


CHANGED = "it was changed after it was written: remove it and its manifest, and run again"


def check_stored_size(found_bytes: int, size_bytes: int, path: str) -> None:
    """Raise PermanentError where what lies at `path` has another size: reading a sparse file can take hours."""
    if found_bytes != size_bytes:
        raise PermanentError(
            f"{path} in the store must have {size_bytes:,} bytes, as its manifest says; received {found_bytes:,}; "
            f"{CHANGED}"
        )


def check_content(file: Path, sha256: str, size_bytes: int, path: str) -> Path:
    """`file`, a copy of `path`, if it has that digest and size. Raises PermanentError, and OSError as open() does."""
    check_regular(file)
    check_stored_size(file.stat().st_size, size_bytes, path)
    if (found := file_digest(file)) != sha256:
        raise PermanentError(
            f"{path} in the store does not match its digest: expected sha256 {sha256}, received {found}; {CHANGED}"
        )
    return file
