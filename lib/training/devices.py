"""What TensorFlow computes on, and how, for one recipe."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.util import _pywrap_util_port

from lib.errors import NoGpu
from lib.lineage.provenance import environment, usable_cores
from lib.models.schema import Recipe
from lib.runtime.environment import threads


def start_tensorflow() -> None:
    """Say how many threads it is to use, and that it is to take GPU memory as it needs it, not all of it at once."""
    tf.config.threading.set_intra_op_parallelism_threads(threads())
    tf.config.threading.set_inter_op_parallelism_threads(threads())
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


def prepare_keras(recipe: Recipe, allow_cpu: bool) -> None:
    """Set determinism and precision for `recipe`, before any model is built.

    Raises NoGpu where the recipe runs on a GPU that TensorFlow cannot use, unless a CPU is allowed.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if recipe.runs_on == "gpu" and not (gpus or allow_cpu):
        raise NoGpu(
            f"{recipe.name} runs on a GPU and TensorFlow can use none here; install the package's gpu extra, "
            "or --allow-cpu (ALLOW_CPU=1) trains it on the CPU, slowly"
        )
    if recipe.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(recipe.precision if gpus else "float32")


def within_memory(compute: Callable[[int], np.ndarray], batch_rows: int) -> np.ndarray:
    """`compute(batch_rows)`, and again with half as many rows in a batch each time that memory runs out."""
    while True:
        try:
            return compute(batch_rows)
        except (tf.errors.ResourceExhaustedError, MemoryError):
            if batch_rows == 1:
                raise
        batch_rows //= 2


def machine() -> dict[str, Any]:
    """What bit-for-bit equality depends on."""
    return {
        "tensorflow": tf.__version__,
        "cpu": environment()["hardware"]["cpu"],
        "threads": tf.config.threading.get_intra_op_parallelism_threads() or usable_cores(),
        "onednn": bool(_pywrap_util_port.IsMklEnabled()),
        "gpus": len(tf.config.list_physical_devices("GPU")),
    }
