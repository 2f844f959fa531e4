"""What TensorFlow computes on, and how, for one recipe."""

from typing import Any

import keras
import tensorflow as tf

from lib.errors import NoGpu
from lib.lineage.provenance import environment
from lib.models.schema import Recipe


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
    grow_gpu_memory()
    if recipe.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(recipe.precision if gpus else "float32")


def grow_gpu_memory() -> None:
    """Take GPU memory as it is needed, not all of it at once."""
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


def machine() -> dict[str, Any]:
    """What bit-for-bit equality depends on."""
    return {
        "tensorflow": tf.__version__,
        "cpu": environment()["hardware"]["cpu"],
        "threads": environment()["hardware"]["cores"],
        "gpus": len(tf.config.list_physical_devices("GPU")),
    }
