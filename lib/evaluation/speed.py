"""How many images a second a network classifies."""

import statistics
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from lib.runtime.interrupts import deferred_interrupts

Classify = Callable[[tf.Tensor], tf.Tensor]
BATCHES = (1, 256)
LONGEST_S = 2.0
"""Of measuring with batches of one size."""


def images_per_second(network: keras.Model, images: np.ndarray, budget_s: float) -> dict[str, float]:
    """Batch size → images a second, of raw `images` (N, H, W, C) uint8 that lie in memory; larger batches repeat them.

    Each size takes about `budget_s`, or one batch where that takes longer. A size for which memory does not suffice is
    left out.
    """
    signature = [tf.TensorSpec((None, *images.shape[1:]), tf.uint8)]
    compute = tf.function(lambda given: network(given, training=False), input_signature=signature)
    _seconds(compute, tf.constant(images[:1]))  # it traces the network
    found = {}
    for size in BATCHES:
        batch = tf.constant(images[np.arange(size) % len(images)])
        try:
            found[str(size)] = round(size / _typical_seconds(compute, batch, min(budget_s, LONGEST_S)), 1)
        except (tf.errors.ResourceExhaustedError, MemoryError):
            continue
    return found


def _typical_seconds(compute: Classify, batch: tf.Tensor, budget_s: float) -> float:
    """The median of as many calls as `budget_s` has room for; the first counts only where it is the only one."""
    first, taken = _seconds(compute, batch), list[float]()
    while first + sum(taken) < budget_s:
        taken.append(_seconds(compute, batch))
    return statistics.median(taken or [first])


def _seconds(compute: Classify, batch: tf.Tensor) -> float:
    with deferred_interrupts():
        started = time.perf_counter()
        compute(batch).numpy()
        return time.perf_counter() - started
