"""Where all that is random in a training is drawn from: a stream of its own for each use, epoch and chunk."""

from enum import IntEnum
from typing import Any

import numpy as np


class Use(IntEnum):
    """What a stream is for. A number that is given once stays: another would change every model."""

    ORDER = 0
    AUGMENTATION = 1
    LAYER_SEEDS = 2


def stream(seed: int, use: Use, *place: int) -> np.random.Generator:
    """The stream of `use` at `place` (epoch, chunk …). Streams of different uses or places are independent."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(use, *place)))


def seed_layers(model: Any, seed: int, *place: int) -> None:
    """Set every layer's random state for the chunk at `place` (epoch, chunk)."""
    for number, state in enumerate(random_states(model)):
        state.assign(stream(seed, Use.LAYER_SEEDS, *place, number).integers(2**32, size=2, dtype=np.uint32))


def random_states(model: Any) -> list[Any]:
    """Of each layer that draws. Backbones have none."""
    return [layer.seed_generator.state for layer in model.layers if hasattr(layer, "seed_generator")]
