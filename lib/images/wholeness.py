"""What Pillow does not check: where some PNG and JPEG 2000 files are cut, it shows zeros and says nothing."""

import struct
import zlib
from collections.abc import Iterator

from PIL import Image

CHUNK = struct.Struct(">I4s")
SUM = struct.Struct(">I")
HEADER = struct.Struct(">IIBBBBB")
SIGNATURE_BYTES = 8
BLOCK_BYTES = 1 << 20
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Of PNG, by its kind of colour."""
PASSES = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))
"""Of an interlaced PNG: first column, columns between two, first row, rows between two."""
START_OF_TILE, END_OF_CODESTREAM = b"\xff\x90", b"\xff\xd9"


def check_before(file_format: str, encoded: bytes) -> None:
    """Raise ValueError where checksums of a PNG are wrong, and where a PNG or JPEG 2000 has no end."""
    if file_format == "PNG":
        for _ in _png_chunks(encoded):
            pass
    if file_format == "JPEG2000" and not 0 < encoded.find(START_OF_TILE) < encoded.rfind(END_OF_CODESTREAM):
        raise ValueError("it is truncated")


def check_after(file_format: str, encoded: bytes, image: Image.Image) -> None:
    """Raise ValueError where a PNG has fewer rows than it promises, as decoded to `image`."""
    if file_format != "PNG" or all(any(_row(image, row)) for row in range(max(image.height - 2, 0), image.height)):
        return  # rows that are missing are zeros: few images end in these, and only they are unpacked once more
    left = _png_bytes(encoded)
    stream = zlib.decompressobj()
    for kind, start, end in _png_chunks(encoded):
        packed = encoded[start:end] if kind == b"IDAT" else b""
        while packed and left > 0 and not stream.eof:
            left -= len(stream.decompress(packed, BLOCK_BYTES))
            packed = stream.unconsumed_tail
    if left - len(stream.flush()) > 0:
        raise ValueError("rows are missing")


def _row(image: Image.Image, row: int) -> bytes:
    return image.crop((0, row, image.width, row + 1)).tobytes()


def _png_chunks(encoded: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The kind of each chunk up to the last, and where its data are."""
    view, at, kind = memoryview(encoded), SIGNATURE_BYTES, b""
    while kind != b"IEND":
        try:
            length, kind = CHUNK.unpack_from(encoded, at)
            start = at + CHUNK.size
            (expected,) = SUM.unpack_from(encoded, start + length)
        except struct.error:
            raise ValueError("it is truncated") from None
        at = start + length + SUM.size
        if zlib.crc32(view[start - 4 : start + length]) != expected:
            raise ValueError("a checksum does not match")
        yield kind, start, start + length


def _png_bytes(encoded: bytes) -> int:
    """How many are to come out of the pixels' stream: one for the filter of each row, and its pixels."""
    width, height, bits, colour, _, _, interlaced = HEADER.unpack_from(encoded, SIGNATURE_BYTES + CHUNK.size)
    count = 0
    for left, across, top, down in PASSES if interlaced else ((0, 1, 0, 1),):
        columns, rows = -((left - width) // across), -((top - height) // down)
        if columns > 0 and rows > 0:
            count += rows * (1 + (columns * bits * CHANNELS[colour] + 7) // 8)
    return count
