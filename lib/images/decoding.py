"""Encoded images of users to pixels: what the file shows, or the reason why it cannot be read. Nothing is guessed.

Decoders of images are large C libraries: files that nobody vouches for belong into `lib.images.decoding_process`.
"""

import hashlib
import io
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
from PIL import (  # imported for their formats: Pillow would import all 44
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from lib.errors import PermanentError, shortened
from lib.images.depths import Depth, as_grey
from lib.images.wholeness import check_after, check_before

FORMATS = tuple(
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        GifImagePlugin.GifImageFile,
        BmpImagePlugin.BmpImageFile,
        TiffImagePlugin.TiffImageFile,
        PpmImagePlugin.PpmImageFile,
        IcoImagePlugin.IcoImageFile,
        Jpeg2KImagePlugin.Jpeg2KImageFile,
        AvifImagePlugin.AvifImageFile,
    )
)
"""Each has a signature, so that content decides, and comes in data sets. Not among them: those that run a program or
need another file (EPS, WMF, FPX, GRIB), those without a signature (TGA, DIB, PCX), those that Pillow decodes in Python
(QOI: a second a megapixel), and those that are not used for it.
"""
NOT_READ = {b"%!PS": "EPS", b"%PDF": "PDF", b"8BPS": "PSD", b"<svg": "SVG", b"<?xml": "XML", b"\x1f\x8b": "gzip"}
HEIC = re.compile(rb".{4}ftyp(hei[cx]|hev[cx]|mif1)", re.DOTALL)
MAX_PIXELS = 64 << 20
"""A few kB can promise any number of pixels, and each takes 4 bytes of memory: a decompression bomb. The largest
photos of phones that are not put together from several have 64 million.
"""
MAX_BYTES = 256 << 20
DRAFT_RATIO = 1.5
"""A JPEG is decoded at 1/2, 1/4 or 1/8 where at least so many pixels are left for each one of the result: that differs
from the whole image reduced by less than a bicubic filter does, and takes a fifth less time than 2 would.
"""
PLAIN_NAMES = {"1": "1 bit", "P": "palette", "PA": "palette"} | {each: each for each in ("CMYK", "YCbCr", "LAB", "HSV")}
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DAMAGE = (SyntaxError, ValueError, LookupError, TypeError, OSError, OverflowError, struct.error)
WHERE = re.compile(r"<[^<>]* at 0x[0-9a-f]+>|\b0x[0-9a-f]{6,}\b|(?<![\w/])/[^\s'\"]+", re.IGNORECASE)


class Unreadable(PermanentError):
    """The file cannot be read as a whole. Its message is the reason: one line of fewer than 200 characters."""


class NeedsMemory(Unreadable):
    """Decoding it takes more memory than there is, or than it may take."""


class Picture(NamedTuple):
    """What a file shows."""

    pixels: np.ndarray  # (H, W, C) uint8, not writeable; C is 1 or 3
    size: tuple[int, int]
    """Height and width in pixels of the image before it was reduced, and after it was turned upright."""
    mode: str
    """Of the file, as Pillow names it: `RGB`, `P`, `I;16`."""
    format: str
    """Of the file, as Pillow names it: `JPEG`."""
    conversions: tuple[str, ...]
    """What had to be decided to come to these pixels, in plain names that can be counted."""


class _Opened(NamedTuple):
    """A file, and what of it is no longer known once its pixels are."""

    image: ImageFile.ImageFile
    mode: str
    format: str
    depth: Depth
    turned: bool
    """By Pillow itself, as of TIFF."""


def decode(encoded: bytes, side_px: int | None, channels: Literal[1, 3] | None) -> Picture:
    """What `encoded` shows: upright, without transparency, with 8 bits a channel, the first frame of several.

    With `side_px`, the square in its centre at (side_px, side_px, C): reduced by Pillow's bilinear filter, which
    weighs all pixels below it, adds no rings at edges and leaves an image alone that has this size; smaller ones are
    enlarged. `channels` 1 is luma (ITU-R 601), 3 repeats grey, None is 1 for files of grey modes and else 3.

    What is transparent is put on white. 16 bits are divided by 257. Other whole numbers are kept where all are within
    0 to 255, divided by 257 where all are within 0 to 65,535, and else go from the least (0) to the greatest (255);
    floats are multiplied by 255 where all are within 0 to 1, kept within 0 to 255, and else as whole numbers are.

    Pillow's settings and Python's warnings, which belong to all threads, are set meanwhile: do not call it in two.
    Raises Unreadable for all that is not whole. Only PNG has checksums: a byte that was changed in the middle of a file
    of another format may show as other pixels.
    """
    if not encoded:
        raise Unreadable("it is empty")
    if len(encoded) > MAX_BYTES:
        raise Unreadable(f"must have at most {MAX_BYTES:,} bytes; received {len(encoded):,}")
    with _strict():
        try:
            return _decode(encoded, side_px, channels)
        except Unreadable:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise Unreadable(
                f"must have at most {MAX_PIXELS:,} pixels, as decoding more could take all memory; it promises more"
            ) from error
        except UnidentifiedImageError as error:
            raise Unreadable(_no_image(encoded)) from error
        except MemoryError as error:
            raise NeedsMemory("needs more memory than there is") from error
        except Exception as error:
            if "out of memory" in str(error):
                raise NeedsMemory("needs more memory than there is") from error
            said = shortened(WHERE.sub("…", str(error))) or type(error).__name__
            what = f"must be a whole {_kind(encoded) or 'image'}"
            raise Unreadable(f"{what}; received one that is damaged or of a kind that is not read: {said}") from error


def pixel_digest(picture: Picture) -> str:
    """Hex SHA-256 of shape and pixels: the same for equal pixels, however they were encoded."""
    shape = "×".join(map(str, picture.pixels.shape))
    return hashlib.sha256(shape.encode() + b"\0" + picture.pixels.tobytes()).hexdigest()


@contextmanager
def _strict() -> Iterator[None]:
    """Pillow refuses truncated files and too many pixels, also within ICO, and warns nobody."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
    ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, MAX_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before


def _decode(encoded: bytes, side_px: int | None, channels: Literal[1, 3] | None) -> Picture:
    with _opened(encoded) as file:
        image, notes = file.image, []
        if getattr(image, "is_animated", False):
            notes.append("first frame of several")
        extent: tuple[float, float] | None = None
        width, height = image.size
        if side_px and isinstance(image, JpegImagePlugin.JpegImageFile):
            least = int(DRAFT_RATIO * side_px)
            drafted = image.draft("L" if channels == 1 else None, (least, least))
            extent = drafted[1][2:] if drafted else None
        image.load()
        check_after(file.format, encoded, image)
        if extent is None:
            width, height = image.size
        if not width * height:
            raise Unreadable("must have pixels; received an image without any")
        turn, more = _turn(file)
        plain, grey, said = _plain(file)
        if side_px and min(width, height) != side_px:
            plain = _reduced(plain, side_px, extent or plain.size)
        if turn is not None:  # one of them is 0
            plain = plain.transpose(turn)
            width, height = (width, height) if turn.name.startswith(("FLIP", "ROTATE_180")) else (height, width)
        count = channels or (1 if grey else 3)
        plain = _as(_centre(plain, side_px), "L" if count == 1 else "RGB")
        pixels = np.frombuffer(plain.tobytes(), np.uint8).reshape(plain.height, plain.width, count)
        return Picture(pixels, (height, width), file.mode, file.format, (*notes, *more, *said))


@contextmanager
def _opened(encoded: bytes) -> Iterator[_Opened]:
    with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
        check_before(image.format or "", encoded)
        tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
        turned = tags.get(ExifTags.Base.Orientation, 1) in TURNS
        raw = image.tile[0].args if image.tile else ""
        raw = str(raw if isinstance(raw, str) else raw[0] if raw else "")
        yield _Opened(image, image.mode, image.format or "", Depth.of(image.format or "", raw, tags), turned)


def _turn(file: _Opened) -> tuple[Image.Transpose | None, list[str]]:
    """How the image is to be turned, and what is to be said of it."""
    try:
        exif = file.image.getexif()
        turn = TURNS.get(exif.get(ExifTags.Base.Orientation, 1))
        is_damaged = bool(file.image.info.get("exif")) and not len(exif)
    except DAMAGE:
        turn, is_damaged = None, True
    if is_damaged:  # the pixels are whole, and are shown as they are elsewhere
        return None, ["damaged EXIF"]
    return turn, ["orientation applied"] if turn is not None or file.turned else []


def _plain(file: _Opened) -> tuple[Image.Image, bool, list[str]]:
    """The image in mode L or RGB, whether it is grey by its mode, and what was done."""
    image, depth = file.image, file.depth
    if image.mode.startswith("I") or image.mode == "F":
        pixels, notes = as_grey(np.asarray(image), depth, image.info.get("transparency"))
        return Image.fromarray(pixels), True, notes
    notes = [PLAIN_NAMES[file.mode]] if file.mode in PLAIN_NAMES else []
    notes += ["16 bits scaled"] if depth.is_cut else []
    grey = file.mode in {"1", "L", "LA", "La"} or depth.raw.startswith("LA;")
    target = "L" if grey or image.mode == "L" else "RGB"
    if not image.has_transparency_data:
        return _as(image, target), grey, notes
    if "transparency" in image.info:
        image.info["transparency"] = depth.key(image.info["transparency"])
    layered = _as(image, f"{target}A")
    if layered.getchannel("A").getextrema()[0] == 255:
        return layered.convert(target), grey, notes
    white = Image.new(target, layered.size, "white")
    white.paste(layered, mask=layered.getchannel("A"))
    return white, grey, [*notes, "alpha on white"]


def _as(image: Image.Image, mode: str) -> Image.Image:
    """`image` in `mode`: itself, where it is, as a copy takes as much memory again."""
    return image if image.mode == mode else image.convert(mode)


def _reduced(image: Image.Image, side_px: int, extent: tuple[float, float]) -> Image.Image:
    """The square in the centre of the first `extent` (width, height) of `image`, at `side_px`."""
    width, height = extent
    short = min(width, height)
    left, top = (width - short) / 2, (height - short) / 2
    box = (left, top, left + short, top + short)
    return image.resize((side_px, side_px), Image.Resampling.BILINEAR, box)


def _centre(image: Image.Image, side_px: int | None) -> Image.Image:
    """The square in the centre, where there is a `side_px`, which is the shorter side."""
    if side_px is None or image.width == image.height:
        return image
    left, top = (image.width - side_px) // 2, (image.height - side_px) // 2
    return image.crop((left, top, left + side_px, top + side_px))


def _no_image(encoded: bytes) -> str:
    if kind := _kind(encoded):
        return f"must be a whole {kind}; received one with a damaged header, or of a kind that is not read"
    known = (
        "HEIC" if HEIC.match(encoded) else next((NOT_READ[each] for each in NOT_READ if encoded.startswith(each)), "")
    )
    return f"must be an image of {', '.join(FORMATS)}; received {known or 'something else'}"


def _kind(encoded: bytes) -> str:
    """The format of this signature; empty where it is of none that is read."""
    for name in FORMATS:
        accept = Image.OPEN[name][1]
        if accept and accept(encoded[:16].ljust(16)) is True:
            return name
    return ""
