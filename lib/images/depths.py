"""Images of more than 8 bits a pixel to 8 bits, over their whole range: Pillow would cut off what is above 255."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Self

import numpy as np

BAND_ROWS = 256
"""So many are converted at a time, to take no more memory than that."""
TIFF_BITS, TIFF_PHOTOMETRIC, TIFF_SAMPLE_FORMAT = 258, 262, 339
UNSIGNED = 1
KEY_FACTORS = {"L;2": 85, "L;4": 17}
"""Of PNG: Pillow spreads these over 0 to 255, and leaves the number of the transparent one as it is in the file."""


class Depth(NamedTuple):
    """How a file's numbers are to be read, where Pillow's mode does not tell."""

    raw: str = ""
    """The raw mode of Pillow's decoder: `RGB;16B`."""
    bits: int = 16
    is_unsigned: bool = False
    white_is_zero: bool = False
    is_16_bits: bool = False
    """Though they come as 32 bits."""

    @classmethod
    def of(cls, file_format: str, raw: str, tags: Mapping[int, Any]) -> Self:
        """Of a file of this format, decoded with this raw mode, with these tags where it is a TIFF."""
        bits = tags.get(TIFF_BITS, (16,))
        return cls(
            raw=raw,
            bits=12 if bits == (12,) else 16,
            is_unsigned=tags.get(TIFF_SAMPLE_FORMAT, (UNSIGNED,)) == (UNSIGNED,) and bits == (32,),
            white_is_zero=tags.get(TIFF_PHOTOMETRIC) == 0,
            is_16_bits=file_format == "PPM",
        )

    @property
    def is_cut(self) -> bool:
        """Whether Pillow has reduced 16 bits to the upper 8."""
        return ";16" in self.raw

    def key(self, transparency: Any) -> Any:
        """What is transparent, in the numbers that Pillow gives pixels: it leaves that of a PNG as in the file."""
        if self.is_cut and isinstance(transparency, tuple):
            return tuple(each >> 8 for each in transparency)
        if isinstance(transparency, int):
            return transparency * KEY_FACTORS.get(self.raw, 1)
        return transparency


def as_grey(values: np.ndarray, depth: Depth, transparent: Any = None) -> tuple[np.ndarray, list[str]]:
    """`values` (H, W) as uint8 (H, W), with what was done; those that are `transparent` are white.

    Raises ValueError where a value is no number.
    """
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise ValueError("a pixel is not a finite number")
        return _scaled(values, *_range(values, (1, 255))), ["float scaled"]
    if values.dtype.itemsize == 2 or depth.is_16_bits:
        pixels = _table(depth.bits)[values]
        if depth.white_is_zero:
            np.subtract(255, pixels, out=pixels)
        notes = [f"{depth.bits} bits scaled"]
        if isinstance(transparent, int) and (hidden := values == transparent).any():
            pixels[hidden] = 255
            notes.append("alpha on white")
        return pixels, notes
    if depth.is_unsigned:
        values = values.view(np.uint32)
    return _scaled(values, *_range(values, (255, 65_535))), ["32 bits scaled"]


@lru_cache
def _table(bits: int) -> np.ndarray:
    """The 8 bits (65,536,) for each number of 16; above what `bits` can say they are white."""
    top = (1 << bits) - 1
    return np.minimum((np.arange(1 << 16) * 255 + top // 2) // top, 255).astype(np.uint8)


def _range(values: np.ndarray, tops: tuple[int, int]) -> tuple[float, float]:
    """From 0 to the first of `tops` that none of `values` is above; else from their least to their greatest."""
    low, high = float(values.min()), float(values.max())
    fitting = [float(top) for top in tops if low >= 0 and high <= top]
    return (0.0, fitting[0]) if fitting else (low, high)


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """`low` to 0 and `high` to 255, rounded; all 0 where these are one."""
    pixels = np.zeros(values.shape, np.uint8)
    if high > low:
        for start in range(0, len(values), BAND_ROWS):
            band = values[start : start + BAND_ROWS].astype(np.float64)
            pixels[start : start + BAND_ROWS] = np.rint((band - low) / (high - low) * 255)
    return pixels
