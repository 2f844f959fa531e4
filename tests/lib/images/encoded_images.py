"""Writes PNG and TIFF files by their specifications, bit by bit: also those that no library writes."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

INTEGER, SIGNED, FLOAT = 1, 2, 3
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK, LAB = 0, 1, 2, 5, 8


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, colour: int, rows: bytes, before: bytes = b"") -> bytes:
    """A PNG of `rows`, each after the number of its filter, with the chunks `before` its pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + before + pixels + chunk(b"IEND", b"")


def grey_png(value: int) -> bytes:
    """2 × 2 pixels of this grey."""
    return png(2, 2, 8, 0, bytes([0, value, value]) * 2)


def large() -> bytes:
    """40 megapixels of grey, in 160 kB: decoding them takes a tenth of a second, and 40 MB at the least."""
    return png(8_000, 5_000, 8, 0, (b"\0" + bytes(range(250)) * 32) * 5_000)


def tiff(
    width: int,
    bits: tuple[int, ...],
    colour: int,
    pixels: bytes,
    sample_format: int = INTEGER,
    extra: int | None = None,
    orientation: int = 1,
    height: int = 1,
) -> bytes:
    """A little-endian TIFF of one strip without compression; `extra` says what the last channel is."""
    tags = {256: width, 257: height, 259: 1, 262: colour, 274: orientation, 277: len(bits), 278: height}
    tags |= {279: len(pixels), 339: sample_format}
    tags |= {} if extra is None else {338: extra}
    entries = 2 + len(tags)
    after = 8 + 2 + 12 * entries + 4
    many = struct.pack(f"<{len(bits)}H", *bits) if len(bits) > 2 else b""
    tags[273] = after + len(many)
    packed = {tag: struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()}
    value = struct.pack("<I", after) if many else struct.pack(f"<{len(bits)}H", *bits).ljust(4, b"\0")
    packed[258] = struct.pack("<HHI", 258, 3, len(bits)) + value
    directory = b"".join(packed[tag] for tag in sorted(packed))
    return b"II*\0" + struct.pack("<IH", 8, entries) + directory + bytes(4) + many + pixels


def saved(pixels: np.ndarray, file_format: str, mode: str | None = None, **options: object) -> bytes:
    """As Pillow writes uint8 `pixels` (H, W) or (H, W, C), perhaps as another `mode`."""
    image, file = Image.fromarray(pixels), io.BytesIO()
    (image.convert(mode) if mode else image).save(file, file_format, **options)
    return file.getvalue()


def oriented(orientation: int) -> Image.Exif:
    """EXIF that says nothing else."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif
