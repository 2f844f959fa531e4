"""Images come off a sheet as they were put on it."""

import io

import numpy as np
import pytest
from PIL import Image

from lib.reporting.tiles import ENLARGED, sheet, tiles


@pytest.mark.parametrize(("count", "channels"), [(1, 1), (5, 3), (7, 3), (20, 1)])
def test_each_image_comes_off_a_sheet_as_it_was_put_on_it(count: int, channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (count, 6, 4, channels), np.uint8)
    drawn = sheet(images)
    assert Image.open(io.BytesIO(drawn)).size == (5 * 4 * ENLARGED, -(-count // 5) * 6 * ENLARGED)
    own, large = tiles(drawn, count, enlarged=False), tiles(drawn, count, enlarged=True)
    read = [np.asarray(Image.open(io.BytesIO(each))).reshape(6, 4, channels) for each in own]
    assert np.array_equal(read, images), "grey keeps its scale, too: 10 is not made white"
    assert [Image.open(io.BytesIO(each)).size for each in large] == [(4 * ENLARGED, 6 * ENLARGED)] * count
