"""Which functions say what the code of a step means, and the small inputs that they share."""

from collections.abc import Callable
from typing import Any

import numpy as np

Meaning = Callable[[], Any]
MEANINGS: dict[tuple[str, str], Meaning] = {}


def of_step(kind: str) -> Callable[[Meaning], Meaning]:
    def note(meaning: Meaning) -> Meaning:
        MEANINGS[kind, meaning.__name__] = meaning
        return meaning

    return note


def images(rows: int, side: int = 8, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, side, side, channels), np.uint8)


def labels(rows: int) -> np.ndarray:
    return (np.arange(rows) % 3).astype(np.int16)


def moments(array: Any) -> list[float]:
    """Mean, deviation, first and last value: of what differs in its last bits from one CPU to another."""
    flat = np.asarray(array, np.float64).ravel()
    return [float(flat.mean()), float(flat.std()), float(flat[0]), float(flat[-1])]


def toy(**fields: Any) -> Any:
    from lib.models.schema import Augmentation, Phase, Recipe

    given: dict[str, Any] = {
        "name": "toy",
        "datasets": (),
        "description": "",
        "network": "digits-cnn",
        "phases": (Phase(epochs=2, learning_rate=0.01, weight_decay=0.1),),
        "batch_size": 8,
        "augmentation": Augmentation(shift_px=2, flip=True, cutout_px=3),
    }
    return Recipe(**given | fields)
