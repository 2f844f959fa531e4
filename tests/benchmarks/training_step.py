"""Measure what our trainer adds to Keras: `python -m tests.benchmarks.training_step`.

`cifar-cnn`'s network on CIFAR-100 from the store (STORE_URI): images a processor second through our trainer against
bare `model.fit` on arrays, and the highest memory of one epoch's beginning against that of the notebook's script.
"""

import resource
from typing import Any

import numpy as np
import tensorflow as tf

from lib.data.rows import read_rows
from lib.models.networks import build_for_training
from lib.models.recipes import RECIPES
from lib.training.batches import TrainingImages
from lib.training.devices import prepare_keras, start_tensorflow
from lib.training.fit import CHUNK_STEPS, Trainer
from lib.training.optimizers import make_loss, make_optimizer
from tests.benchmarks import notebook
from tests.benchmarks.measuring import Measured, given, in_turn, over, own_process, said, show, spent
from tests.benchmarks.reading import padded, prepared

MODULE, TURNS, RECIPE = "tests.benchmarks.training_step", 5, RECIPES["cifar-cnn"]
SHAPE, CLASSES = (32, 32, 3), 100


class Enough(Exception):
    """Ends a training after its first chunk."""


def trainer() -> Trainer:
    store, data = prepared("cifar100")
    labels = read_rows(store, data, ("train",))["train"].labels
    rows = TrainingImages(padded(), labels, RECIPE.batch_size, 0)
    model = build_for_training(RECIPE, SHAPE, CLASSES)
    one = Trainer(RECIPE, model, rows, (np.zeros((1, *SHAPE), np.uint8), np.zeros(1)), 0, lambda event: None, 600)
    one.start(None)
    return one


def bare_model(steps: int) -> Any:
    """The same network and optimizer, as one would write them in plain Keras."""
    model = build_for_training(RECIPE, SHAPE, CLASSES)
    optimizer, loss = make_optimizer(RECIPE.phases[0], steps), make_loss(RECIPE, CLASSES)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    return model


def matrix_product_gflops() -> float:
    """Operations of a processor second in a product of two large matrices."""
    a = tf.random.normal((3_000, 3_000))
    tf.matmul(a, a)
    return 2 * 3.0**3 / spent(lambda: tf.matmul(a, a).numpy())


def measure() -> list[Measured]:
    start_tensorflow()
    prepare_keras(RECIPE, allow_cpu=False)
    ours = trainer()
    images, labels = ours.rows.chunk(0, 0, CHUNK_STEPS)
    theirs, rows = bare_model(ours.rows.steps), len(images)

    def fit() -> object:
        return theirs.fit(images, labels, batch_size=RECIPE.batch_size, verbose=0)

    turns = in_turn(TURNS, lambda: rows / spent(ours._chunk), lambda: rows / spent(fit))
    memory = in_turn(1, lambda: float(own_process(MODULE, "ours")), lambda: float(own_process(MODULE, "notebook")))
    unit = "images/processor s"
    return [
        Measured(
            "a training step of cifar-cnn",
            said(turns[0], unit, ",.0f"),
            f"model.fit: {said(turns[1], unit, ',.0f')}",
            over(*turns),
            "≥ 1.0",
            f"matrix product: {matrix_product_gflops():,.0f} GFLOP a processor second",
        ),
        Measured(
            "highest memory of that training",
            said(memory[0], "MB", ",.0f"),
            f"the notebook's script: {said(memory[1], 'MB', ',.0f')}",
            over(*memory),
            "≤ 0.7",
        ),
    ]


def print_memory(of: str) -> None:
    """Highest resident memory of this process, in MB, once some steps are done."""
    start_tensorflow()
    if of == "notebook":
        notebook.cifar().fit_some(CHUNK_STEPS)
    else:
        prepare_keras(RECIPE, allow_cpu=False)
        trainer()._chunk()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    what = given(__doc__)
    print_memory(what[0]) if what else show(measure())
