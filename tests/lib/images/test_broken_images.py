"""Images that are not whole: each is refused with a reason, and none shows pixels that are not in it."""

import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFile

from lib.images import decoding
from lib.images.decoding import FORMATS, Unreadable, decode

from .encoded_images import FLOAT, png, saved, tiff

RAMP = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
WHOLE = saved(RAMP, "PNG")
ROW = b"\0" + b"\xc8" * 8


def icon(image: bytes) -> bytes:
    """An ICO that says nothing of its size."""
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(image), 22) + image


BROKEN: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "it is empty"),
    "text": (b"hello", "received something else"),
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "AVIF; received EPS"),
    "HEIC": (b"\0\0\0\x18ftypheic" + bytes(99), "AVIF; received HEIC"),
    "a cut PNG": (WHOLE[:-20], "it is truncated"),
    "a PNG without an end": (WHOLE[:-12], "it is truncated"),
    "a PNG with another checksum": (WHOLE[:-13] + b"\0" + WHOLE[-12:], "a checksum does not match"),
    "a PNG with too few rows": (png(8, 8, 8, 0, ROW * 5), "rows are missing"),
    "a PNG with half a row": (png(8, 8, 8, 0, ROW * 5 + ROW[:4]), "truncated"),
    "a PNG with a damaged header": (WHOLE[:8] + bytes(99), "damaged header"),
    "a cut JPEG": (saved(RAMP, "JPEG")[:-50], "must be a whole JPEG; received one that is damaged"),
    "a JPEG 2000 without tiles": (saved(RAMP, "JPEG2000", no_jp2=True)[:120], "it is truncated"),
    "no pixels": (b"BM" + bytes(8) + struct.pack("<IIiiHHIIIIII", 54, 40, 0, 1, 1, 24, 0, 0, 0, 0, 0, 0), ""),
    "too many pixels in an icon": (icon(png(10_000, 10_000, 1, 0, b"")), "must have at most 67,108,864 pixels"),
    "too many pixels": (png(10_000, 10_000, 1, 0, b""), "must have at most 67,108,864 pixels"),
    "far too many pixels": (png(1_000_000, 1_000_000, 1, 0, b""), "must have at most 67,108,864 pixels"),
    "no number": (tiff(1, (32,), 1, struct.pack("<f", float("nan")), FLOAT), "a pixel is not a finite number"),
    "an infinite number": (tiff(1, (32,), 1, struct.pack("<f", float("inf")), FLOAT), "a pixel is not a finite number"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_on_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    file, says = BROKEN[name]
    for side_px in (None, 8):
        with pytest.raises(Unreadable) as caught:
            decode(file, side_px, None)
        said = str(caught.value)
        assert says in said
        assert len(said) < 200
        assert said.isprintable()
        assert "0x" not in said
    assert (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS) == (True, None)
    assert not recwarn.list


def test_a_file_of_too_many_bytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_BYTES", 1_000)
    with pytest.raises(Unreadable, match="must have at most 1,000 bytes; received 1,001"):
        decode(bytes(1_001), None, None)


@pytest.mark.parametrize(
    ("error", "says"),
    [(MemoryError(), "needs more memory than there is"), (RecursionError("at 0x7f0011223344 in /tmp/x"), "at … in …")],
)
def test_whatever_pillow_raises_is_a_reason(monkeypatch: pytest.MonkeyPatch, error: Exception, says: str) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(Unreadable, match=says):
        decode(WHOLE, None, None)


CUT: dict[str, Callable[[np.ndarray], bytes]] = {
    **{each: lambda pixels, each=each: saved(pixels, each) for each in FORMATS if each != "ICO"},
    "ICO": lambda pixels: saved(pixels, "ICO", sizes=[(32, 32)]),
    "progressive JPEG": lambda pixels: saved(pixels, "JPEG", progressive=True),
    "deflated TIFF": lambda pixels: saved(pixels, "TIFF", compression="tiff_adobe_deflate"),
}


@pytest.mark.parametrize("name", CUT)
def test_a_cut_file_never_shows_other_pixels(name: str) -> None:
    file = CUT[name](np.random.default_rng(2).integers(0, 256, (4, 4, 3), np.uint8).repeat(10, 0).repeat(10, 1))
    whole = decode(file, None, None)
    for length in [*range(1, len(file), 13), *range(len(file) - 12, len(file))]:
        try:
            shown = decode(file[:length], None, None)
        except Unreadable:
            continue
        assert np.array_equal(shown.pixels, whole.pixels)
