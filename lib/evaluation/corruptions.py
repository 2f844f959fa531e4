"""Images that were taken or kept badly: six corruptions in three severities each, to see what a model makes of them.

They are after Hendrycks & Dietterich (2019), Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations (arXiv:1903.12261). Strengths are those of the authors' CIFAR-10-C, which is of 32 × 32 pixels, at their
severities 1, 3 and 5 (github.com/hendrycks/robustness, make_cifar_c.py). Here each image has a random stream of its
own, so that an image is corrupted in the same way whichever others are, and one channel is as good as three.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

SEVERITIES = (1, 2, 3)
"""Weak, medium and strong."""
PUBLISHED_PX = 32
"""The side of the images that the strengths are of; the blur of larger ones is as much wider."""
Corruption = Callable[[np.ndarray, Any, list[np.random.Generator]], np.ndarray]
"""Of images (N, H, W, C) from 0 to 1, a strength, and each image's own stream."""


def corrupt(images: np.ndarray, name: str, severity: int, rows: np.ndarray, seed: int) -> np.ndarray:
    """`images` (N, H, W, C) uint8 of 1 or 3 channels, corrupted: of the same shape and type.

    `name` is one of CORRUPTIONS, and `severity` of SEVERITIES. `rows` (N,) numbers the images: number, name, severity
    and `seed` alone decide the noise of an image.
    """
    corruption, strengths = CORRUPTIONS[name]
    place = [*CORRUPTIONS].index(name)
    streams = [np.random.Generator(np.random.PCG64([seed, place, severity, int(row)])) for row in rows]
    corrupted = corruption(images.astype(np.float32) / 255, strengths[severity - 1], streams)
    levels: np.ndarray = np.round(np.clip(corrupted, 0, 1) * 255).astype(np.uint8)
    return levels


def gaussian_noise(images: np.ndarray, deviation: float, streams: list[np.random.Generator]) -> np.ndarray:
    """Noise of a sensor in little light: of normal distribution, each channel for itself."""
    noise = np.stack([stream.standard_normal(images.shape[1:], np.float32) for stream in streams])
    noisy: np.ndarray = images + deviation * noise
    return noisy


def gaussian_blur(images: np.ndarray, deviation_px: float, streams: list[np.random.Generator]) -> np.ndarray:
    """Out of focus."""
    from scipy import ndimage  # takes a moment to import: reports only need the names

    sides = [deviation_px * max(1, side / PUBLISHED_PX) for side in images.shape[1:3]]
    blurred: np.ndarray = ndimage.gaussian_filter(images, (0, *sides, 0), mode="nearest")
    return blurred


def brightness(images: np.ndarray, more: float, streams: list[np.random.Generator]) -> np.ndarray:
    """Too much light: the value of hue, saturation and value is raised, and hue and saturation stay."""
    value = images.max(axis=3, keepdims=True)
    raised = np.minimum(value + more, 1)
    lit: np.ndarray = np.where(value > 0, images * (raised / np.maximum(value, 1e-6)), raised)
    return lit


def contrast(images: np.ndarray, kept: float, streams: list[np.random.Generator]) -> np.ndarray:
    """Mist, or flat light: each pixel is drawn towards the mean of its image and channel."""
    means = images.mean(axis=(1, 2), keepdims=True)
    drawn: np.ndarray = (images - means) * kept + means
    return drawn


def pixelate(images: np.ndarray, share: float, streams: list[np.random.Generator]) -> np.ndarray:
    """Made smaller, and as large as before again, without smoothing."""
    height, width = images.shape[1:3]
    small = max(1, int(width * share)), max(1, int(height * share))

    def through(image: Image.Image) -> Image.Image:
        return image.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BOX)

    return _each(images, through)


def jpeg_compression(images: np.ndarray, quality: int, streams: list[np.random.Generator]) -> np.ndarray:
    """Kept in few bytes."""

    def through(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return _each(images, through)


def _each(images: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """What `change` makes of each image; they are a whole number of 255ths."""
    levels = np.round(images * 255).astype(np.uint8)
    changed = [np.asarray(change(Image.fromarray(each[..., 0] if each.shape[2] == 1 else each))) for each in levels]
    return np.stack(changed).reshape(images.shape).astype(np.float32) / 255


CORRUPTIONS: dict[str, tuple[Corruption, tuple[float, float, float]]] = {
    "gaussian_noise": (gaussian_noise, (0.04, 0.08, 0.1)),
    "gaussian_blur": (gaussian_blur, (0.4, 0.7, 1)),
    "brightness": (brightness, (0.05, 0.15, 0.3)),
    "contrast": (contrast, (0.75, 0.4, 0.15)),
    "pixelate": (pixelate, (0.95, 0.85, 0.65)),
    "jpeg_compression": (jpeg_compression, (80, 58, 40)),
}
"""Name → what it does, and how strongly in each of SEVERITIES. Their order decides the noise: new ones come last."""
