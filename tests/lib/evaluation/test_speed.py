"""How fast a network is said to be."""

import time
from typing import Any

import numpy as np


def test_a_batch_of_20_ms_gives_50_images_a_second_one_at_a_time_and_256_times_as_many() -> None:
    import tensorflow as tf

    from lib.evaluation.speed import images_per_second

    shapes: list[tuple[int, ...]] = []

    def rest(images: Any) -> Any:
        shapes.append(tuple(images.shape))
        time.sleep(0.02)
        return images

    def network(images: Any, training: bool) -> Any:
        assert not training
        return tf.py_function(rest, [images], tf.uint8)

    given: Any = network
    found = images_per_second(given, np.zeros((3, 2, 2, 1), np.uint8), budget_s=0.05)
    assert 10 < found["1"] <= 50
    assert 10 * 256 < found["256"] <= 50 * 256
    assert {*shapes} == {(1, 2, 2, 1), (256, 2, 2, 1)}
    assert len(shapes) <= 1 + 2 * 3, "one that traces, and as many as 50 ms have room for"
    assert images_per_second(given, np.zeros((3, 2, 2, 1), np.uint8), budget_s=0).keys() == {"1", "256"}
