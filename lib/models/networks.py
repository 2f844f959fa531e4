"""Networks from raw uint8 images to class probabilities. Only the training process imports this file."""

from collections.abc import Callable

import keras
from keras import layers

from lib.errors import PermanentError
from lib.models.recipes import Recipe

ImageShape = tuple[int, int, int]


def build(recipe: Recipe, image_shape: ImageShape, classes: int) -> keras.Model:
    """The recipe's network for images of `image_shape` (H, W, C) uint8: (N, H, W, C) → (N, classes) float32.

    Scaling to 0…1 is a layer of the model. Raises PermanentError for an unknown network.
    """
    if recipe.network not in NETWORKS:
        raise PermanentError(f"unknown network {recipe.network!r}; known: {', '.join(sorted(NETWORKS))}")
    images = keras.Input(image_shape, dtype="uint8", name="images")
    features = NETWORKS[recipe.network](layers.Rescaling(1 / 255, name="to_unit_range")(images), recipe)
    probabilities = layers.Dense(classes, activation="softmax", name="probabilities", dtype="float32")(features)
    return keras.Model(images, probabilities, name=recipe.name.replace("-", "_"))


def cifar_cnn(x: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    """The notebook's CIFAR-100 network: pairs of 3×3 convolutions, LeakyReLU from the second pair on."""
    for block, filters in enumerate((32, 64, 128, 256)):
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same")(x)
            x = layers.ReLU()(x) if block == 0 else layers.LeakyReLU()(x)
        x = layers.MaxPooling2D()(x)
        if block == 0:
            x = layers.Dropout(recipe.dropout)(x)
    x = layers.Flatten()(x)
    return layers.LeakyReLU()(layers.Dense(128)(x))


def fashion_cnn(x: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    """The notebook's Fashion-MNIST network, its dropout rates as printed."""
    for _ in range(2):
        x = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    for filters, rate in ((32, 0.0), (64, 0.1), (128, 0.2), (256, 0.25)):
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(padding="same")(x)
        if rate:
            x = layers.Dropout(rate)(x)
    x = layers.Conv2D(256, 3, padding="same", activation="relu")(x)
    x = layers.Dropout(0.3)(x)
    x = layers.Flatten()(layers.MaxPooling2D(padding="same")(x))
    for units, rate in ((128, 0.6), (64, 0.4)):
        x = layers.Dense(units, activation="relu")(x)
        x = layers.Dropout(rate)(layers.BatchNormalization()(x))
    return x


def digits_cnn(x: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    """Small and quick: the 4×4 blocks of the enlarged scans are averaged away first."""
    x = layers.AveragePooling2D(2)(x)
    for filters in (16, 32):
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.MaxPooling2D()(x)
    x = layers.Dropout(recipe.dropout)(layers.Flatten()(x))
    return layers.Dense(64, activation="relu")(x)


def softmax(x: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    """Pixels as they are: the last layer then is a linear classifier."""
    return layers.Flatten()(x)


NETWORKS: dict[str, Callable[[keras.KerasTensor, Recipe], keras.KerasTensor]] = {
    "cifar-cnn": cifar_cnn,
    "digits-cnn": digits_cnn,
    "fashion-cnn": fashion_cnn,
    "softmax": softmax,
}
