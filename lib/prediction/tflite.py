"""A model for TensorFlow Lite, with weights of 8 bits, where it says the same."""

import io
import warnings
from contextlib import redirect_stdout

import keras
import numpy as np
import tensorflow as tf

from lib.data.rows import open_rows
from lib.errors import PermanentError, cause
from lib.lineage.manifests import Manifest, load
from lib.models.networks import load_network
from lib.prediction.folded import folded
from lib.prediction.reference import SEED
from lib.runtime.failures import of_exception
from lib.store import Store

IMAGES = 1_000
"""Of validation, at most: of these the class that is chosen must be the same."""
ELSE = "take --format keras"


def tflite_of(store: Store, model: Manifest) -> bytes:
    """The file of `model`. Raises PermanentError where it cannot be converted, or would choose another class."""
    network, prepared = load_network(store, model), load(store, model.inputs["prepared"])
    height, width, channels = prepared.facts["image_shape"]
    rows = open_rows(store, prepared, ("validation",))["validation"]
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(rows.labels))[:IMAGES])
    images = rows.images.take(chosen)
    converted = _converted(network)
    right, received = folded(network, (height, width, channels))(images), _predicted(converted, images)
    others = int((right.argmax(axis=1) != received.argmax(axis=1)).sum())
    if others:
        raise PermanentError(
            f"a model in TensorFlow Lite must choose the class that Keras chooses, on {len(images):,} images of "
            f"validation; with weights of 8 bits it chooses another one for {others:,}, and probabilities differ by up "
            f"to {float(np.abs(right - received).max()):.3f}; {ELSE}"
        )
    return converted


def _converted(network: keras.Model) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    try:
        with redirect_stdout(io.StringIO()):  # it lists each weight
            converted: bytes = converter.convert()
    except Exception as error:
        if of_exception("converting", error):  # memory or disk, not the model
            raise
        raise PermanentError(
            f"{network.name} cannot be converted to TensorFlow Lite: {cause(error)}; {ELSE}"
        ) from error
    return converted


def _predicted(converted: bytes, images: np.ndarray) -> np.ndarray:
    """(n, H, W, C) uint8 → (n, classes) float32, one image at a time: so do those who use such a file."""
    with warnings.catch_warnings(action="ignore"):  # that another package will have it one day
        interpreter = tf.lite.Interpreter(model_content=converted)
    interpreter.allocate_tensors()
    (given,), (said,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for image in images:
        interpreter.set_tensor(given["index"], image[np.newaxis])
        interpreter.invoke()
        found.append(interpreter.get_tensor(said["index"])[0])
    return np.stack(found)
