"""Images of users: the pixels that a file shows, or a reason. Expected values are of the specifications."""

import io
import struct
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from lib.images.decoding import decode, pixel_digest

from .encoded_images import (
    BLACK_IS_ZERO,
    CMYK,
    FLOAT,
    LAB,
    RGB,
    SIGNED,
    WHITE_IS_ZERO,
    chunk,
    oriented,
    png,
    saved,
    tiff,
)

SCALED = "16 bits scaled"
WHITE = "alpha on white"
PALETTE = chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60]))
RAMP = np.tile(np.arange(256, dtype=np.uint8), (256, 1))


class Case(NamedTuple):
    """A file, and what it shows: its pixels in order, mode and conversions."""

    file: bytes
    pixels: list[int]
    mode: str
    conversions: tuple[str, ...] = ()


def grey(bits: int, pixels: bytes, count: int, before: bytes = b"") -> bytes:
    return png(count, 1, bits, 0, b"\0" + pixels, before)


def words(kind: str, *values: float) -> bytes:
    return struct.pack(f"<{len(values)}{kind}", *values)


# An alpha of 51 is a fifth: of 100 on white, 0.2 · 100 + 0.8 · 255 = 224 is left; of 0, 204.
CASES = {
    "grey": Case(grey(8, b"\5\7", 2), [5, 7], "L"),
    "colour": Case(png(1, 2, 8, 2, b"\0\1\2\3\0\4\5\6"), [1, 2, 3, 4, 5, 6], "RGB"),
    "1 bit": Case(grey(1, b"\xa0", 3), [255, 0, 255], "1", ("1 bit",)),
    "grey and alpha": Case(png(2, 1, 8, 4, b"\0\x64\x33\x07\xff"), [224, 7], "LA", (WHITE,)),
    "colour and alpha": Case(png(1, 1, 8, 6, b"\0\xff\0\x64\x33"), [255, 204, 224], "RGBA", (WHITE,)),
    "colour and alpha, opaque": Case(png(1, 1, 8, 6, b"\0\1\2\3\xff"), [1, 2, 3], "RGBA"),
    "premultiplied grey": Case(tiff(1, (8, 8), BLACK_IS_ZERO, b"\x14\x33", extra=1), [224], "La", (WHITE,)),
    "premultiplied colour": Case(
        tiff(1, (8, 8, 8, 8), RGB, b"\x33\0\x14\x33", extra=1), [255, 204, 224], "RGBA", (WHITE,)
    ),
    "palette": Case(png(2, 1, 8, 3, b"\0\0\1", PALETTE), [10, 20, 30, 40, 50, 60], "P", ("palette",)),
    "palette with an alpha for each": Case(
        png(2, 1, 8, 3, b"\0\0\1", chunk(b"PLTE", bytes([10, 20, 30, 100, 0, 255])) + chunk(b"tRNS", b"\xff\x33")),
        [10, 20, 30, 224, 204, 255],
        "P",
        ("palette", WHITE),
    ),
    "palette with one transparent": Case(
        png(2, 1, 8, 3, b"\0\0\1", PALETTE + chunk(b"tRNS", b"\0")),
        [255, 255, 255, 40, 50, 60],
        "P",
        ("palette", WHITE),
    ),
    "one grey transparent": Case(grey(8, b"\5\7", 2, chunk(b"tRNS", b"\0\5")), [255, 7], "L", (WHITE,)),
    # The numbers 5 and 10 of 4 bits: 10 · 17 = 170.
    "one of 16 greys transparent": Case(grey(4, b"\x5a", 2, chunk(b"tRNS", b"\0\5")), [255, 170], "L", (WHITE,)),
    "one of 4 greys transparent": Case(grey(2, b"\x60", 2, chunk(b"tRNS", b"\0\1")), [255, 170], "L", (WHITE,)),
    "one colour transparent": Case(
        png(2, 1, 8, 2, b"\0\1\2\3\1\2\4", chunk(b"tRNS", b"\0\1\0\2\0\3")), [255, 255, 255, 1, 2, 4], "RGB", (WHITE,)
    ),
    "one colour of 16 bits transparent": Case(
        png(2, 1, 16, 2, b"\0" + b"\1\1\2\2\3\3" + b"\4\4\5\5\6\6", chunk(b"tRNS", b"\1\1\2\2\3\3")),
        [255, 255, 255, 4, 5, 6],
        "RGB",
        (SCALED, WHITE),
    ),
    # v / 257, rounded: 128 / 257 = 0.498, 129 / 257 = 0.502.
    "grey of 16 bits": Case(
        grey(16, struct.pack(">5H", 0, 128, 129, 51_400, 65_535), 5), [0, 0, 1, 200, 255], "I;16", (SCALED,)
    ),
    "one grey of 16 bits transparent": Case(
        grey(16, b"\5\5\x80\x80", 2, chunk(b"tRNS", b"\5\5")), [255, 128], "I;16", (SCALED, WHITE)
    ),
    # 128 / 255 of 64, the rest of white: 32.1 + 127 = 159.
    "grey and alpha of 16 bits": Case(png(1, 1, 16, 4, b"\0\x40\x40\x80\x80"), [159], "RGBA", (SCALED, WHITE)),
    "TIFF of 16 bits": Case(tiff(2, (16,), BLACK_IS_ZERO, words("H", 257, 51_400)), [1, 200], "I;16", (SCALED,)),
    "TIFF of 16 bits, white is 0": Case(
        tiff(2, (16,), WHITE_IS_ZERO, words("H", 257, 51_400)), [254, 55], "I;16", (SCALED,)
    ),
    # 0x123 = 291 of 4,095 is 18.1 of 255.
    "TIFF of 12 bits": Case(tiff(2, (12,), BLACK_IS_ZERO, b"\x12\x3f\xff"), [18, 255], "I;16", ("12 bits scaled",)),
    "PGM of 16 bits": Case(b"P5 2 1 65535\n\1\1\xc8\xc8", [1, 200], "I", (SCALED,)),
    "PGM up to 1,000": Case(b"P2 3 1 1000\n0 200 1000\n", [0, 51, 255], "I", (SCALED,)),
    "32 bits within 8": Case(tiff(2, (32,), 1, words("i", 0, 200), SIGNED), [0, 200], "I", ("32 bits scaled",)),
    "32 bits within 16": Case(tiff(2, (32,), 1, words("i", 257, 51_400), SIGNED), [1, 200], "I", ("32 bits scaled",)),
    "32 bits": Case(tiff(3, (32,), 1, words("i", -100, 0, 155), SIGNED), [0, 100, 255], "I", ("32 bits scaled",)),
    "32 bits without a sign": Case(
        tiff(3, (32,), 1, words("I", 0, 1 << 31, (1 << 32) - 1)), [0, 128, 255], "I", ("32 bits scaled",)
    ),
    "floats within 1": Case(tiff(3, (32,), 1, words("f", 0, 0.2, 1), FLOAT), [0, 51, 255], "F", ("float scaled",)),
    "floats within 255": Case(tiff(2, (32,), 1, words("f", 0.4, 254.6), FLOAT), [0, 255], "F", ("float scaled",)),
    "floats": Case(tiff(3, (32,), 1, words("f", -1, 0, 4), FLOAT), [0, 51, 255], "F", ("float scaled",)),
    "one float": Case(tiff(2, (32,), 1, words("f", 7e9, 7e9), FLOAT), [0, 0], "F", ("float scaled",)),
    "CMYK": Case(tiff(2, (8, 8, 8, 8), CMYK, b"\xff\0\0\0\0\0\0\xff"), [0, 255, 255, 0, 0, 0], "CMYK", ("CMYK",)),
    "PPM": Case(b"P6 1 1 255\n\1\2\3", [1, 2, 3], "RGB"),
    "BMP": Case(saved(np.array([[[1, 2, 3]]], np.uint8), "BMP"), [1, 2, 3], "RGB"),
    "WebP": Case(saved(np.array([[[1, 2, 3]]], np.uint8), "WEBP", lossless=True), [1, 2, 3], "RGB"),
    "JPEG 2000": Case(saved(np.full((8, 8), 9, np.uint8), "JPEG2000"), [9] * 64, "L"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_shows_what_its_specification_says(name: str) -> None:
    case = CASES[name]
    picture = decode(case.file, None, None)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.ravel().tolist() == case.pixels
    assert picture.pixels.shape[:2] == picture.size
    assert (picture.mode, picture.conversions) == (case.mode, case.conversions)


# What lies in the file where the image is 1 2 3 above 4 5 6.
STORED = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[3, 6], [2, 5], [1, 4]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[4, 1], [5, 2], [6, 3]],
}


@pytest.mark.parametrize("orientation", STORED)
def test_images_are_turned_upright(orientation: int) -> None:
    stored = np.array(STORED[orientation], np.uint8)
    said = ("orientation applied",) if orientation > 1 else ()
    height, width = stored.shape
    for file in (
        saved(stored, "PNG", exif=oriented(orientation)),
        tiff(width, (8,), BLACK_IS_ZERO, stored.tobytes(), orientation=orientation, height=height),
    ):
        picture = decode(file, None, None)
        assert picture.pixels[..., 0].tolist() == [[1, 2, 3], [4, 5, 6]]
        assert (picture.size, picture.conversions) == ((2, 3), said)
        assert decode(file, 2, None).pixels[..., 0].tolist() == [[1, 2], [4, 5]]


@pytest.mark.parametrize("orientation", STORED)
def test_a_photo_is_turned_upright_also_where_it_is_reduced(orientation: int) -> None:
    upright = np.zeros((80, 120), np.uint8)
    upright[:40, 60:] = 200  # the quarter at the upper right
    turned = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T}
    turned |= {6: np.rot90(upright), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1)}
    file = saved(np.ascontiguousarray(turned[orientation]), "JPEG", quality=95, exif=oriented(orientation))
    picture = decode(file, 8, None)
    assert picture.size == (80, 120)
    assert np.abs(picture.pixels[:3, 5:, 0].astype(int) - 200).max() < 6
    assert max(picture.pixels[5:].max(), picture.pixels[:, :3].max()) < 6


def test_colours_of_a_jpeg_are_kept() -> None:
    for mode, conversions in (("RGB", ()), ("CMYK", ("CMYK",))):
        picture = decode(saved(np.full((16, 16, 3), (200, 30, 90), np.uint8), "JPEG", mode), None, None)
        assert np.abs(picture.pixels.astype(int) - (200, 30, 90)).max() <= 3
        assert (picture.format, picture.mode, picture.conversions) == ("JPEG", mode, conversions)


@pytest.mark.parametrize("height", [427, 384, 336, 195, 192])  # 192 and 384 leave least for each pixel of the result
def test_a_jpeg_decoded_at_a_fraction_is_nearer_to_the_whole_than_another_filter_is(height: int) -> None:
    for photo in load_sample_images().images:
        width = 640 * height // 427
        file = saved(np.asarray(Image.fromarray(photo).resize((width, height))), "JPEG", quality=90)
        whole, box = Image.open(io.BytesIO(file)), ((width - height) / 2, 0, (width + height) / 2, height)
        filters = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
        expected, bicubic = (np.asarray(whole.resize((64, 64), each, box), float) for each in filters)
        apart = np.sqrt(np.mean((decode(file, 64, 3).pixels - expected) ** 2))
        assert 0 < apart < 2.5
        assert apart < np.sqrt(np.mean((bicubic - expected) ** 2))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_a_reduced_ramp_is_a_ramp(file_format: str) -> None:
    picture = decode(saved(RAMP, file_format), 32, None)
    assert picture.size == (256, 256)
    # Below column k lie 8k to 8k + 7.
    assert np.abs(picture.pixels[:, 1:-1, 0] - (8 * np.arange(1, 31) + 3.5)).max() <= 2


def test_the_square_in_the_centre_is_taken() -> None:
    wide = np.repeat(np.array([10, 90, 200], np.uint8), 100)[None].repeat(100, axis=0)
    for image in (wide, np.ascontiguousarray(wide.T)):
        for file_format in ("PNG", "JPEG"):
            inner = decode(saved(image, file_format), 20, None).pixels[1:-1, 1:-1]
            assert np.abs(inner.astype(int) - 90).max() <= 2


def test_an_image_of_this_size_is_cut_and_not_changed() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 11), np.uint8)
    assert np.array_equal(decode(saved(image, "PNG"), 8, None).pixels[..., 0], image[:, 1:9])


def test_a_smaller_image_is_enlarged() -> None:
    picture = decode(CASES["colour"].file, 4, None)
    assert (picture.pixels.shape, picture.size) == ((4, 4, 3), (2, 1))
    assert (picture.pixels[..., 1] >= 2).all()


def test_channels_are_as_asked_for() -> None:
    assert decode(CASES["grey"].file, None, 3).pixels.tolist() == [[[5, 5, 5], [7, 7, 7]]]
    # ITU-R 601: 0.299, 0.587 and 0.114 of 255.
    primaries = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert decode(saved(primaries, "PNG"), None, 1).pixels.ravel().tolist() == [76, 150, 29]
    red = decode(saved(np.full((64, 64, 3), (255, 0, 0), np.uint8), "JPEG"), 8, 1).pixels
    assert np.abs(red.astype(int) - 76).max() <= 2


def test_of_several_frames_the_first_is_taken() -> None:
    second = Image.fromarray(np.full((4, 4), 200, np.uint8))
    for file_format in ("GIF", "PNG", "TIFF"):
        file = saved(np.full((4, 4), 50, np.uint8), file_format, save_all=True, append_images=[second])
        picture = decode(file, None, 1)
        assert (set(picture.pixels.ravel().tolist()), picture.conversions[0]) == ({50}, "first frame of several")


def test_pixels_are_shown_where_only_the_exif_is_damaged() -> None:
    for file_format in ("JPEG", "PNG", "WEBP"):
        file = saved(RAMP, file_format, exif=b"Exif\0\0nothing that can be read")
        assert decode(file, None, None).conversions == ("damaged EXIF",)


def test_lab_is_white_and_black_at_its_ends() -> None:
    picture = decode(tiff(2, (8, 8, 8), LAB, b"\xff\0\0\0\0\0"), None, None)
    assert np.abs(picture.pixels.astype(int) - [[[255] * 3, [0] * 3]]).max() <= 1
    assert (picture.mode, picture.conversions) == ("LAB", ("LAB",))


def test_equal_pixels_have_equal_digests() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)
    digests = {pixel_digest(decode(saved(pixels, each), None, None)) for each in ("PNG", "BMP", "TIFF", "PPM")}
    assert len(digests) == 1
    line, column = (decode(saved(each, "PNG"), None, None) for each in (pixels[:1, :2], pixels[:1, :2].swapaxes(0, 1)))
    assert line.pixels.tobytes() == column.pixels.tobytes()
    assert pixel_digest(line) != pixel_digest(column)
