"""Files at places where others may have put something else.

On a FIFO open() waits for ever, a device never ends, and a sparse file of terabytes costs its maker nothing. So what is
opened must be a regular file, and what is read is bounded.
"""

import errno
import hashlib
import os
import stat
import time
from io import BufferedReader, BufferedWriter
from pathlib import Path

from lib.errors import InTheWay, TooLarge

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
PART_BYTES = 1 << 20
SETTLED_NS = 2_000_000_000
MOST_DIGESTS = 10_000
_DIGESTS: dict[tuple[int, ...], str] = {}
LEADS_NOWHERE = "Is a link that leads nowhere"
_ELSE = {
    stat.S_IFDIR: os.strerror(errno.EISDIR),
    stat.S_IFIFO: "Is a FIFO",
    stat.S_IFSOCK: "Is a socket",
    stat.S_IFCHR: "Is a device",
    stat.S_IFBLK: "Is a device",
    stat.S_IFLNK: LEADS_NOWHERE,
}


def first_free_space(error: OSError) -> str:
    """How the advice about `error` begins where there is no space for a file, or no number (inode); else empty."""
    return "free space, or " if error.errno in NO_SPACE else ""


def open_regular(path: Path) -> BufferedReader:
    """The regular file at `path`, to be read.

    Raises InTheWay where something else lies there, and OSError as open() does.
    """
    return os.fdopen(_opened(path, os.O_RDONLY), "rb")


def open_lock(path: Path) -> BufferedWriter:
    """The file at `path`, made where there is none, for `flock`. Raises as `open_regular` does."""
    return os.fdopen(_opened(path, os.O_WRONLY | os.O_CREAT), "wb")


def read_regular(path: Path, max_bytes: int) -> bytes:
    """The content of the regular file at `path`. Raises TooLarge, or as `open_regular` does."""
    with open_regular(path) as stream:
        check_size(str(path), os.fstat(stream.fileno()).st_size, max_bytes)
        data = stream.read(max_bytes + 1)
    check_size(str(path), len(data), max_bytes)
    return data


def digest_and_size(path: Path, max_bytes: int) -> tuple[str, int]:
    """sha256 and bytes of the regular file at `path`, read a part at a time. Raises as `read_regular` does."""
    sha256, size = hashlib.sha256(), 0
    with open_regular(path) as stream:
        check_size(str(path), os.fstat(stream.fileno()).st_size, max_bytes)
        while part := stream.read(PART_BYTES):
            sha256.update(part)
            size += len(part)
            check_size(str(path), size, max_bytes)
    return sha256.hexdigest(), size


def file_digest(path: Path) -> str:
    """sha256 of the regular file at `path`; computed once a process, unless the file has changed since.

    Raises as `open_regular` does.
    """
    with open_regular(path) as stream:
        status = os.fstat(stream.fileno())
        version = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        if version in _DIGESTS:
            return _DIGESTS[version]
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    # A file system's clock has steps: a file that has just changed may change once more and bear the same times.
    if time.time_ns() - status.st_ctime_ns > SETTLED_NS and len(_DIGESTS) < MOST_DIGESTS:
        _DIGESTS[version] = found
    return found


def write_private(path: Path, text: str) -> None:
    """Put a file that its owner alone may read in the place of what lies at `path`. Raises OSError as open() does."""
    begun = path.with_name(f"{path.name}.begun")
    begun.unlink(missing_ok=True)  # of a killed process; a file that is opened keeps its mode
    with os.fdopen(os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    begun.replace(path)


def check_regular(path: Path) -> None:
    """Raise InTheWay where something lies at `path` that is no regular file."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ELOOP}:
            raise
        if not path.is_symlink():
            return
        mode = stat.S_IFLNK
    _check(path, mode)


def check_size(place: str, size_bytes: int, max_bytes: int) -> None:
    """Raise TooLarge where what lies at `place` has more than `max_bytes`."""
    if size_bytes > max_bytes:
        raise TooLarge(
            f"{place} must have at most {max_bytes:,} bytes; received {size_bytes:,}; it is not what was written "
            "there: remove it, and run again"
        )


def _opened(path: Path, flags: int) -> int:
    """A descriptor, got without ever waiting."""
    check_regular(path)  # before it is opened: a device may do something then
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    try:
        _check(path, os.fstat(descriptor).st_mode)
    except InTheWay:
        os.close(descriptor)
        raise
    return descriptor


def _check(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        what = _ELSE.get(stat.S_IFMT(mode), "Is something else")
        raise InTheWay(f"{path} must be a regular file; received another kind ({what}): remove it, or name another")
