"""Backbones, from raw uint8 images to pooled features, and their weights."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
from keras import layers

from lib.errors import PermanentError, one_line
from lib.models.backbone_schema import IMAGENET, RANDOM, Backbone
from lib.models.efficientnet_lite import efficientnet_lite, fill

LAYER = "backbone"


@dataclass(frozen=True)
class Network:
    """A network as keras.applications builds it, and how its pretrained weights want their pixels."""

    build: Callable[..., keras.Model]
    scale: Callable[[keras.KerasTensor], keras.KerasTensor]
    fill: Callable[[keras.Model, Path], object] = keras.Model.load_weights
    """Reads weights from a file."""


def _to_one(x: keras.KerasTensor) -> keras.KerasTensor:
    """0…255 → -1…1."""
    return layers.Rescaling(1 / 127.5, offset=-1, name="to_minus_one_to_one")(x)


def _imagenet_centred(x: keras.KerasTensor) -> keras.KerasTensor:
    """RGB → BGR, less ImageNet's means (Caffe's)."""
    means = [-103.939, -116.779, -123.68]
    return layers.Rescaling([1.0, 1.0, 1.0], offset=means, name="less_imagenet_means")(keras.ops.flip(x, axis=-1))


def _imagenet_standardised(x: keras.KerasTensor) -> keras.KerasTensor:
    """0…1, less ImageNet's means, over its deviations (Torch's)."""
    means, deviations = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return layers.Rescaling(
        (1 / 255 / deviations).tolist(), offset=(-means / deviations).tolist(), name="imagenet_standardised"
    )(x)


def _less_127_over_128(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Rescaling(1 / 128, offset=-127 / 128, name="less_127_over_128")(x)


BACKBONES: dict[str, Network] = {
    "densenet121": Network(keras.applications.DenseNet121, _imagenet_standardised),
    "efficientnet-lite0": Network(partial(efficientnet_lite, 1.0, 1.0), _less_127_over_128, fill),
    "efficientnet-lite2": Network(partial(efficientnet_lite, 1.1, 1.2), _less_127_over_128, fill),
    "inception-v3": Network(keras.applications.InceptionV3, _to_one),
    "mobilenet": Network(keras.applications.MobileNet, _to_one),
    "resnet50": Network(keras.applications.ResNet50, _imagenet_centred),
}


def pooled_features(images: keras.KerasTensor, backbone: Backbone, weights: Path | None) -> keras.KerasTensor:
    """Raw images (N, H, W, 1 or 3) uint8 → average-pooled features (N, D) float32, from `weights` or at random.

    Raises PermanentError where the weights are not its own.
    """
    network = BACKBONES[backbone.name]
    if images.shape[-1] == 1:
        images = layers.Concatenate(name="grey_to_rgb")([images] * 3)
    side = backbone.image_px
    x = layers.Resizing(side, side, interpolation=backbone.interpolation, name="enlarged")(images)
    whole = network.build(include_top=False, weights=None, input_shape=(side, side, 3))
    if weights is not None:
        load_weights(whole, backbone, weights)
    outputs = _maps(whole, backbone)
    model = keras.Model(whole.inputs, outputs, name=LAYER)
    let_move(model, backbone, True)
    pooled = [layers.GlobalAveragePooling2D(dtype="float32")(each) for each in model(network.scale(x))]
    return layers.Concatenate(name="pooled_layers")(pooled) if len(pooled) > 1 else pooled[0]


def let_move(model: keras.Model, backbone: Backbone, moves: bool) -> None:
    """Let the weights of `model`, a backbone, move in training, or not.

    BatchNorm of pretrained weights never does: it stays in inference mode, with the statistics that came with them.
    Calling the backbone with training=False would not do: a Keras model in training overrides it.
    """
    model.trainable = moves
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = moves and not backbone.pretrained


def load_weights(model: keras.Model, backbone: Backbone, file: Path) -> None:
    """Fill `model` from `file`, in a layout of its kind. Raises PermanentError where the two do not fit."""
    advice = f"set --weights {IMAGENET}, {RANDOM} or a file that Keras wrote of {backbone.name} without its top"
    try:
        with warnings.catch_warnings():
            # Said of some hundred parts of a file that does not fit, before the error that counts.
            warnings.filterwarnings("ignore", "Skipping nested container")
            BACKBONES[backbone.name].fill(model, file)
    except (ValueError, LookupError, OSError, TypeError, AttributeError, RuntimeError) as error:
        reason = one_line(error)[:300]
        raise PermanentError(f"{backbone.name} cannot take its weights from {file.name}: {reason}; {advice}") from error
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise PermanentError(f"the weights of {backbone.name} in {file.name} are not all finite numbers; {advice}")


def _maps(whole: keras.Model, backbone: Backbone) -> list[keras.KerasTensor]:
    try:
        return [whole.get_layer(name).output for name in backbone.pooled] or list(whole.outputs)
    except ValueError as error:
        known = ", ".join(layer.name for layer in whole.layers[-6:])
        raise PermanentError(
            f"{backbone.name} must have the layers {', '.join(backbone.pooled)}; its last are {known}"
        ) from error
