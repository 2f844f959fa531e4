"""Reads gzip files that nobody vouches for: size and number of members, and so the time, have bounds."""

import zlib
from pathlib import Path
from typing import Self

BLOCK_BYTES = 1 << 16
MOST_MEMBERS = 10_000
"""Of one gzip file. Most have one; millions of empty ones would take minutes."""
GZIP = 31
"""What zlib calls a gzip wrapper: its checksums are verified."""


class BoundedGzip:
    """What `path` unpacks to, read from its beginning to its end.

    Raises EOFError where the file is cut, zlib.error where it is damaged, and ValueError where more than `limit_bytes`
    come out of it.
    """

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._file = path.open("rb")
        self._left = limit_bytes
        self._packed = b""
        self._member = zlib.decompressobj(GZIP)
        self._members = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        """The next `size` bytes, or fewer at the end."""
        blocks = []
        while size and (block := self._block(min(size, BLOCK_BYTES))):
            blocks.append(block)
            size -= len(block)
            self._left -= len(block)
            if self._left < 0:
                raise ValueError("more comes out of it than may be in it")
        return b"".join(blocks)

    def _block(self, size: int) -> bytes:
        while True:
            if self._member.eof and not self._next_member():
                return b""
            if not self._packed:
                self._packed = self._file.read(BLOCK_BYTES)
            if not self._packed:
                raise EOFError("it ends too early")
            block = self._member.decompress(self._packed, size)
            self._packed = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if block:
                return block

    def _next_member(self) -> bool:
        """Whether there is another; zeros after the last one are padding."""
        while not (rest := self._packed.lstrip(b"\0")):
            self._packed = self._file.read(BLOCK_BYTES)
            if not self._packed:
                return False
        self._packed = rest
        self._members += 1
        if self._members > MOST_MEMBERS:
            raise ValueError(f"it has more than {MOST_MEMBERS:,} members")
        self._member = zlib.decompressobj(GZIP)
        return True
