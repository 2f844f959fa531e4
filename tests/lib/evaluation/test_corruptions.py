"""Each corruption against what can be said of it by hand, on images of one channel and of three."""

import numpy as np
import pytest

from lib.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt

ROWS = np.arange(6) * 7


def pictures(channels: int, height: int = 32, width: int = 32) -> np.ndarray:
    """Smooth, each another one."""
    y, x = np.mgrid[0:height, 0:width] / 8
    waves = [np.sin(x + row) * np.cos(y - row) for row in range(len(ROWS) * channels)]
    values = 110 + 80 * np.stack(waves).reshape(len(ROWS), channels, height, width)
    return np.ascontiguousarray(values.transpose(0, 2, 3, 1)).astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(32, 32, 1), (32, 32, 3), (6, 9, 1), (48, 40, 3)])
def test_a_stronger_corruption_moves_images_further_and_the_seed_decides_all(
    name: str, shape: tuple[int, int, int]
) -> None:
    images = pictures(shape[2], *shape[:2])
    made = [corrupt(images, name, severity, ROWS, seed=3) for severity in SEVERITIES]
    assert all(each.shape == images.shape and each.dtype == np.uint8 for each in made)
    moved = [float(np.abs(each.astype(int) - images).mean()) for each in made]
    assert moved == sorted(moved)
    assert moved[-1] > moved[0]
    assert moved[-1] > 0.5
    assert all(
        np.array_equal(corrupt(images, name, severity, ROWS, 3), each)
        for severity, each in zip(SEVERITIES, made, strict=True)
    )
    some = np.array([4, 1])
    assert np.array_equal(corrupt(images[some], name, 3, ROWS[some], 3), made[-1][some]), "an image alone is the same"


def test_noise_has_the_published_deviation_and_another_seed_or_row_another_noise() -> None:
    grey = np.full((40, 32, 32, 3), 128, np.uint8)
    rows = np.arange(40)
    for severity, deviation in zip(SEVERITIES, (0.04, 0.08, 0.1), strict=True):
        noise = corrupt(grey, "gaussian_noise", severity, rows, 0).astype(float) - 128
        assert abs(noise.std() / 255 / deviation - 1) < 0.02
        assert abs(noise.mean()) < 0.2
    assert not np.array_equal(noise[0], noise[1])
    assert not np.array_equal(corrupt(grey, "gaussian_noise", 3, rows, 1), corrupt(grey, "gaussian_noise", 3, rows, 0))


def test_brightness_keeps_hue_and_saturation_and_contrast_the_mean_and_the_order() -> None:
    colour = np.full((1, 4, 4, 3), (100, 50, 0), np.uint8)
    lit = corrupt(colour, "brightness", 3, np.array([0]), 0)[0, 0, 0]
    # Of 0.3 × 255 = 76.5 more: value 176.5, and the others in proportion.
    assert lit.tolist() == pytest.approx([176.5, 88.25, 0], abs=0.51)
    assert corrupt(np.zeros((1, 2, 2, 1), np.uint8), "brightness", 1, np.array([0]), 0).ravel().tolist() == [13] * 4
    halves = np.repeat(np.uint8([50, 150]), 8).reshape(1, 4, 4, 1)
    flat = corrupt(halves, "contrast", 2, np.array([0]), 0)
    assert sorted(set(flat.ravel().tolist())) == [80, 120], "0.4 of 50 below and above 100"


def test_a_blur_grows_with_the_image_and_pixels_and_files_are_as_coarse_as_they_say() -> None:
    for side in (32, 64):
        point = np.zeros((1, side, side, 1), np.uint8)
        point[0, side // 2, side // 2] = 255
        spread = corrupt(point, "gaussian_blur", 3, np.array([0]), 0)[0, ..., 0].astype(float)
        deviation = side / 32
        assert spread.max() == pytest.approx(255 / (2 * np.pi * deviation**2), rel=0.03)
    ramp = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))[np.newaxis, ..., np.newaxis]
    columns = corrupt(ramp, "pixelate", 3, np.array([0]), 0)[0, 0, :, 0]
    assert len(set(columns.tolist())) <= 32
    assert len(set(np.diff(columns.astype(int)))) > 1, "20 pixels are not evenly spread over 32"
    edge = np.zeros((1, 32, 32, 3), np.uint8)
    edge[:, :, 13:, 0] = 255
    kept = corrupt(edge, "jpeg_compression", 3, np.array([0]), 0)
    assert len(np.unique(kept)) > 4, "an edge within a block of 8 rings"
