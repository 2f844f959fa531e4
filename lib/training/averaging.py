"""Moving averages of weights, which are what a recipe with `averaging` validates and keeps."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import numpy as np


@contextmanager
def averaged(model: keras.Model, images: Callable[[], np.ndarray], batch_size: int) -> Iterator[None]:
    """Have the moving averages in the weights' place, where the optimizer keeps some.

    BatchNorm's statistics are then those that averaged weights give on `images` (N, …), in batches of `batch_size`:
    those that came about in training belong to other weights (arXiv:1803.05407, section 3.2).
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # in mixed precision Keras wraps it
    if not optimizer.use_ema:
        yield
        return
    before = model.get_weights()
    try:
        type(optimizer).finalize_variable_values(optimizer, model.trainable_variables)
        _take_statistics(model, images(), batch_size)
        yield
    finally:
        model.set_weights(before)


def _take_statistics(model: keras.Model, images: np.ndarray, batch_size: int) -> None:
    """Make BatchNorm's statistics the mean of those of the batches."""
    found = [layer for layer in _layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    normalising = [(layer, layer.momentum) for layer in found if layer.trainable]
    starts = range(0, len(images), batch_size) if normalising else ()
    try:
        for number, start in enumerate(starts):
            for layer, _ in normalising:
                layer.momentum = number / (number + 1)
            model(images[start : start + batch_size], training=True)
    finally:
        for layer, momentum in normalising:
            layer.momentum = momentum


def _layers(model: keras.Model) -> Iterator[keras.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer
