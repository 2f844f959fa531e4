"""The 2023 notebook's CIFAR-100 script, in plain Keras: all pixels as float32, labels one-hot, Adam at 0.001."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from lib.data.rows import Rows, read_rows
from tests.benchmarks.reading import prepared

BATCH, DROPOUT = 128, 0.25
"""The notebook says neither."""


@dataclass
class Script:
    """A compiled model and its arrays."""

    model: Any
    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]

    def fit(self, epochs: int, callbacks: list[Any]) -> None:
        given = {"validation_data": self.validation, "callbacks": callbacks, "verbose": 0}
        self.model.fit(*self.train, batch_size=BATCH, epochs=epochs, **given)

    def fit_some(self, steps: int) -> None:
        """The beginning of an epoch, all rows in memory as the script has them."""
        self.model.fit(*self.train, batch_size=BATCH, steps_per_epoch=steps, verbose=0)


def cifar(seed: int = 0) -> Script:
    """Read and compiled, not yet trained."""
    keras.utils.set_random_seed(seed)
    store, data = prepared("cifar100")
    rows = read_rows(store, data, ("train", "validation"))
    model = keras.Sequential([keras.Input((32, 32, 3)), *_blocks(), layers.Flatten(), layers.Dense(128)])
    model.add(layers.LeakyReLU())
    model.add(layers.Dense(100, activation="softmax"))
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    return Script(model, _arrays(rows["train"]), _arrays(rows["validation"]))


def _blocks() -> list[Any]:
    found: list[Any] = []
    for block, filters in enumerate((32, 64, 128, 256)):
        for _ in range(2):
            found += [layers.Conv2D(filters, 3, padding="same"), layers.LeakyReLU() if block else layers.ReLU()]
        found.append(layers.MaxPooling2D())
        if block == 0:
            found.append(layers.Dropout(DROPOUT))
    return found


def _arrays(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    return rows.images.astype("float32") / 255, keras.utils.to_categorical(rows.labels, 100)
