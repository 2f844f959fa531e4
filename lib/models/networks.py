"""Networks from raw uint8 images to class probabilities. Only the training process imports this file."""

from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
from keras import layers

from lib.errors import PermanentError, cause
from lib.lineage.manifests import Manifest, local_file
from lib.models.backbone_schema import Backbone
from lib.models.backbones import LAYER, let_move, pooled_features
from lib.models.schema import HEAD_UNITS, Phase, Recipe
from lib.runtime.failures import of_exception
from lib.store import Store

ImageShape = tuple[int, int, int]
Files = Mapping[str, Path]
"""Weights of each backbone, by its name."""
FEATURES, HEAD = "features", "head"


def build(
    recipe: Recipe, image_shape: ImageShape, classes: int, weights: Files | None = None, seed: int = 0
) -> keras.Model:
    """The recipe's network for images of `image_shape` (H, W, C) uint8: (N, H, W, C) → (N, classes) float32.

    Enlarging and scaling are layers of the model. A backbone starts from its file in `weights`, or like all else from
    `seed`; where the recipe freezes it, what follows is one layer called `head`. Raises PermanentError for weights that
    do not fit.
    """
    _seed(seed)
    images = keras.Input(image_shape, dtype="uint8", name="images")
    if recipe.backbone and recipe.backbone.frozen:
        extractor = build_features(recipe, image_shape, weights, seed)
        extractor.trainable = False
        features = extractor(images)
        if recipe.augmentation.flip:
            mirrored = extractor(keras.ops.flip(images, axis=2))
            features = layers.Average(name="both_views")([features, mirrored])
        probabilities = build_head(recipe, features.shape[-1], classes, seed)(features)
    elif recipe.backbone is None:
        return of_views(recipe, build_for_training(recipe, image_shape, classes, seed=seed), image_shape)
    else:
        file = (weights or {}).get(recipe.backbone.name)
        probabilities = _classify(pooled_features(images, recipe.backbone, file), recipe, classes)
    return keras.Model(images, probabilities, name=recipe.name.replace("-", "_"))


def of_views(recipe: Recipe, network: keras.Model, image_shape: tuple[int | None, ...]) -> keras.Model:
    """`network` itself or, where the recipe says so, the mean of what it says of an image and of its mirror image."""
    if not recipe.both_views:
        return network
    images = keras.Input(image_shape, dtype="uint8", name="images")
    views = [network(images), network(keras.ops.flip(images, axis=2))]
    return keras.Model(images, layers.Average(name="both_views")(views), name=recipe.name.replace("-", "_"))


def load_network(store: Store, model: Manifest) -> keras.Model:
    """The network that a training stored. Raises PermanentError where its file is none that Keras reads safely."""
    file = local_file(store, model, "model")
    try:
        network: keras.Model = keras.saving.load_model(file, compile=False)
    except Exception as error:
        if of_exception("loading", error):  # memory or disk, not the file
            raise
        address = model.files["model"].path.rpartition("/")[0]
        raise PermanentError(
            f"the model at {address} cannot be read: {file.name}: {cause(error)}; remove that folder and run again"
        ) from error
    return network


def build_for_training(
    recipe: Recipe, image_shape: ImageShape, classes: int, weights: Files | None = None, seed: int = 0
) -> keras.Model:
    """What is trained of `build`'s network, all of its weights in the same order.

    It takes one view, and images of other sizes where the recipe trains on them.
    """
    if recipe.backbone:
        return build(recipe, image_shape, classes, weights, seed)
    _seed(seed)
    any_size = any(phase.sizes for phase in recipe.phases)
    images = keras.Input((None, None, image_shape[2]) if any_size else image_shape, dtype="uint8", name="images")
    probabilities = _classify(layers.Rescaling(1 / 255, name="to_unit_range")(images), recipe, classes)
    return keras.Model(images, probabilities, name=recipe.name.replace("-", "_"))


def build_features(recipe: Recipe, image_shape: ImageShape, weights: Files | None = None, seed: int = 0) -> keras.Model:
    """The backbones' part of the recipe's network: (N, H, W, C) uint8 → (N, D) float32, one after the other."""
    assert recipe.backbone is not None
    if not recipe.beside:
        return _extractor(recipe.backbone, image_shape, weights, seed, FEATURES)
    images = keras.Input(image_shape, dtype="uint8", name="images")
    found = [
        _extractor(each, image_shape, weights, seed, f"{FEATURES}_{each.name.replace('-', '_')}")(images)
        for each in recipe.backbones
    ]
    return keras.Model(images, layers.Concatenate(name="side_by_side")(found), name=FEATURES)


def _extractor(backbone: Backbone, image_shape: ImageShape, weights: Files | None, seed: int, name: str) -> keras.Model:
    _seed(seed)
    images = keras.Input(image_shape, dtype="uint8", name="images")
    return keras.Model(images, pooled_features(images, backbone, (weights or {}).get(backbone.name)), name=name)


def build_head(recipe: Recipe, width: int, classes: int, seed: int = 0) -> keras.Model:
    """The part of the recipe's network after a frozen backbone: (N, width) float32 → (N, classes) float32."""
    _seed(seed)
    features = keras.Input((width,), name="features")
    return keras.Model(features, _classify(features, recipe, classes), name=HEAD)


def enter_phase(model: keras.Model, recipe: Recipe, phase: Phase) -> None:
    """Let those weights of `model` move that `phase` trains."""
    if recipe.backbone and not recipe.backbone.frozen:
        let_move(model.get_layer(LAYER), recipe.backbone, phase.trains == "all")


def _seed(seed: int) -> None:
    # Here and not in a caller: first weights are drawn from Python's random state, which boto3, say, draws from too.
    keras.utils.set_random_seed(seed)


def _classify(x: keras.KerasTensor, recipe: Recipe, classes: int) -> keras.KerasTensor:
    x = NETWORKS[recipe.network](x, recipe)
    return layers.Dense(classes, activation="softmax", name="probabilities", dtype="float32")(x)


def alexnet(x: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    """AlexNet (Krizhevsky et al., 2012) with the notebook's filters and kernels, for images of 32 px.

    As the notebook prints it, with 'valid' padding, it cannot be built: the first convolution and its pooling leave a
    map of 3×3, and the second has a kernel of 11×11. Here all convolutions are padded ('same') and pooling is 2×2, not
    3×3 of stride 2, so that the maps are 8, 4, 2 and 1 px wide.
    """
    for filters, kernel, stride in ((96, 11, 4), (256, 11, 1)):
        x = layers.Conv2D(filters, kernel, strides=stride, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    for filters in (384, 384, 256):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    x = layers.Flatten()(layers.MaxPooling2D()(x))
    for _ in range(2):
        x = layers.Dropout(recipe.dropout)(layers.Dense(4096, activation="relu")(x))
    return x


def dense(x: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    """A head like the notebook's on a backbone's features, with dropout before and after where the recipe has some."""
    x = layers.Dropout(recipe.dropout)(x) if recipe.dropout else x
    x = layers.Dense(HEAD_UNITS[recipe.network], activation="relu")(x)
    return layers.Dropout(recipe.dropout)(x) if recipe.dropout else x


def standardised_dense(x: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    """The same on features of mean 0 and deviation 1 each, by BatchNorm's running statistics."""
    return dense(layers.BatchNormalization(center=False, scale=False, momentum=0.9)(x), recipe)


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


def whitened_resnet(x: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    """Mean features of the last map of a small residual network (He et al., 2015, arXiv:1512.03385) on whitened pixels.

    One block each of 64 and 128 filters; half of the work is done on maps of half the side.
    """
    x = _whitened(x)
    for filters in (64, 128):
        x = _normalised_relu(_convolution(x, filters, stride=2))
        y = _normalised_relu(_convolution(x, filters))
        x = layers.ReLU()(layers.Add()([x, _normalised(_convolution(y, filters))]))
    x = _normalised_relu(_convolution(x, 240, stride=2))
    x = layers.GlobalAveragePooling2D()(_normalised_relu(_convolution(x, 240)))
    return layers.Dropout(recipe.dropout)(x) if recipe.dropout else x


def _whitened(x: keras.KerasTensor) -> keras.KerasTensor:
    """Positive and negative parts of the frequencies of each 3×3 patch, each of unit variance: 18 maps a channel.

    Networks begin to learn about twice as fast on whitened patches (Jordan, 2024, arXiv:2404.00498). He whitens by
    principal components of the training images; those of photographs are near to the frequencies, which need no data.
    """
    one, channels = (_frequencies(size) for size in (3, x.shape[-1]))
    waves = np.einsum("ai,bj,ck->ijkabc", one, one, channels).reshape(3, 3, x.shape[-1], -1)
    patches = layers.Conv2D(2 * waves.shape[-1], 3, padding="same", use_bias=False, trainable=False)
    x = patches(x)
    patches.set_weights([np.concatenate([waves, -waves], axis=-1)])
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9, epsilon=1e-5, center=False, scale=False)(x))


def _frequencies(size: int) -> np.ndarray:
    """(frequency, place): the orthonormal discrete cosine transform; SciPy's takes a third of a second to import."""
    frequency, place = np.arange(size)[:, None], np.arange(size)
    waves: np.ndarray = np.cos(np.pi * frequency * (2 * place + 1) / (2 * size)) * np.sqrt(2 / size)
    waves[0] = np.sqrt(1 / size)
    return waves


def _convolution(x: keras.KerasTensor, filters: int, stride: int = 1) -> keras.KerasTensor:
    start = keras.initializers.HeNormal()
    return layers.Conv2D(filters, 3, stride, padding="same", use_bias=False, kernel_initializer=start)(x)


def _normalised(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def _normalised_relu(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.ReLU()(_normalised(x))


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
    "alexnet": alexnet,
    "cifar-cnn": cifar_cnn,
    "dense-1024": dense,
    "digits-cnn": digits_cnn,
    "fashion-cnn": fashion_cnn,
    "softmax": softmax,
    "standardised-dense-2048": standardised_dense,
    "whitened-resnet": whitened_resnet,
}
