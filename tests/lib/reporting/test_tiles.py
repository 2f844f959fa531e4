"""Images come off a sheet as they were put on it."""

import io

import numpy as np
import pytest
from PIL import Image

from lib.reporting.tiles import ENLARGED, boxes, cut, sheet


@pytest.mark.parametrize(("count", "channels"), [(1, 1), (5, 3), (7, 3), (20, 1)])
def test_each_image_comes_off_a_sheet_as_it_was_put_on_it(count: int, channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (count, 6, 4, channels), np.uint8)
    drawn = sheet(images)
    assert Image.open(io.BytesIO(drawn)).size == (5 * 4 * ENLARGED, -(-count // 5) * 6 * ENLARGED)
    large = [np.asarray(Image.open(io.BytesIO(cut(drawn, box)))) for box in boxes(drawn, count)]
    assert np.array_equal([each[::ENLARGED, ::ENLARGED].reshape(6, 4, channels) for each in large], images)
    assert {each.shape[:2] for each in large} == {(6 * ENLARGED, 4 * ENLARGED)}
