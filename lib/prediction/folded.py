"""A model as one graph whose weights are constants: what can be worked out beforehand is, and Keras is not asked."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


def folded(network: keras.Model, image_shape: tuple[int, int, int]) -> Callable[[np.ndarray], np.ndarray]:
    """(n, *image_shape) uint8 → (n, classes) float32: as `network` says, but for the last digits."""
    function = tf.function(lambda images: network(images, training=False))
    traced = function.get_concrete_function(tf.TensorSpec((None, *image_shape), tf.uint8))
    constant = convert_variables_to_constants_v2(traced)

    def predict(images: np.ndarray) -> np.ndarray:
        probabilities: np.ndarray = constant(tf.constant(images))[0].numpy()
        return probabilities

    return predict
