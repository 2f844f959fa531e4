"""Where all that is random in a training is drawn from: a stream of its own for each use, epoch and chunk."""

from enum import IntEnum

import numpy as np


class Use(IntEnum):
    """What a stream is for. A number that is given once stays: another would change every model."""

    ORDER = 0
    AUGMENTATION = 1
    LAYER_SEEDS = 2


def stream(seed: int, use: Use, *place: int) -> np.random.Generator:
    """The stream of `use` at `place` (epoch, chunk …). Streams of different uses or places are independent."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(use, *place)))
