"""Pixel statistics from counts, against pandas and numpy on the pixels themselves."""

import numpy as np
import pandas as pd
import pytest

from lib.data.profile import channel_statistics, count_values, pixel_table, rows_per_class


def counted(images: np.ndarray, block_rows: int = 700) -> np.ndarray:
    """The counts of `images`, of which so many at a time are counted."""
    blocks = (images[first : first + block_rows] for first in range(0, len(images), block_rows))
    return count_values(blocks, images.shape[1:])


@pytest.mark.parametrize("rows", [1, 2, 3, 10, 101, 1_000, 1_001, 2_345])
def test_the_pixel_table_is_what_pandas_describes(rows: int) -> None:
    random = np.random.default_rng(rows)
    images = random.integers(0, 256, (rows + 50, 2, 3, 2), np.uint8)
    chosen = np.sort(random.choice(len(images), rows, replace=False))
    described = pd.DataFrame(images[chosen].reshape(rows, -1)).describe()
    table = pixel_table(counted(images[chosen]))
    assert list(table) == list(described.index)
    for name in described.index:
        expected = described.loc[name].to_numpy()
        np.testing.assert_allclose(table[name], np.nan_to_num(expected), rtol=1e-12, atol=1e-12, err_msg=name)


def test_each_pixel_of_a_large_image_has_its_own_counts() -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 40, 37, 3), np.uint8)  # 4,440 pixels
    counts = counted(images, 25)
    assert (counts.shape, counts.dtype) == ((40, 37, 3, 256), np.int32)
    assert np.array_equal(counts[39, 36, 2], np.bincount(images[:, 39, 36, 2], minlength=256))
    pixels, table = images.reshape(60, -1), pixel_table(counts)
    quarters = np.percentile(pixels, [0, 25, 50, 75, 100], axis=0)
    expected = {"mean": pixels.mean(axis=0), "std": pixels.std(axis=0, ddof=1)}
    for name, values in (expected | dict(zip(("min", "25%", "50%", "75%", "max"), quarters, strict=True))).items():
        np.testing.assert_allclose(table[name], values, rtol=1e-12, err_msg=name)


def test_the_pixel_table_of_five_rows_is_what_one_gets_by_hand() -> None:
    images = np.array([10, 0, 20, 40, 30], np.uint8).reshape(5, 1, 1, 1)
    assert pixel_table(counted(images)) == {
        "count": [5],
        "mean": [20.0],
        "std": [pytest.approx(250**0.5)],  # (100 + 400 + 0 + 400 + 100) / 4
        "min": [0.0],
        "25%": [10.0],
        "50%": [20.0],
        "75%": [30.0],
        "max": [40.0],
    }


def test_a_quantile_between_two_values_is_interpolated() -> None:
    images = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    table = pixel_table(counted(images))
    assert (table["25%"], table["50%"], table["75%"]) == ([63.75], [127.5], [191.25])


def test_channels_have_numpys_mean_and_deviation() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1_234, 4, 5, 3), np.uint8)
    rows = np.arange(0, 1_234, 3)
    statistics = channel_statistics(counted(images[rows]))
    np.testing.assert_allclose(statistics["mean"], images[rows].mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(statistics["std"], images[rows].std(axis=(0, 1, 2)))


def test_channels_are_not_mixed() -> None:
    images = np.zeros((2, 2, 2, 3), np.uint8)
    images[..., 1] = 7
    images[0, ..., 2] = 10
    assert channel_statistics(counted(images)) == {"mean": [0.0, 7.0, 5.0], "std": [0.0, 0.0, 5.0]}


def test_a_class_without_rows_counts_0() -> None:
    assert rows_per_class(np.array([2, 0, 2, 2]), 4) == [1, 0, 3, 0]
