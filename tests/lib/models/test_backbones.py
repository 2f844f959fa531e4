"""Backbones take the weights of their own kind, in either of Keras's layouts, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lib.errors import PermanentError
from lib.models import backbone_schema, schema
from lib.models.backbone_schema import Backbone

NAMES = ["resnet50", "inception-v3", "densenet121", "mobilenet"]
PX = {"inception-v3": 75}


def backbone(name: str) -> Backbone:
    return Backbone(name=name, image_px=PX.get(name, 32))


def network(name: str, **options: Any) -> Any:
    """Keras's own network with weights unlike any start: BatchNorm's statistics too."""
    from lib.models.backbones import BACKBONES

    side = PX.get(name, 32)
    model = BACKBONES[name].build(include_top=False, weights=None, input_shape=(side, side, 3), **options)
    random = np.random.default_rng(1)
    model.set_weights([random.uniform(0.01, 0.02, weight.shape).astype(np.float32) for weight in model.get_weights()])
    return model


def topological(model: Any, path: Path) -> Path:
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(path / "made_notop.h5", "w") as file:
        save_weights_to_hdf5_group(file, model)
    return path / "made_notop.h5"


def keras_3(model: Any, path: Path) -> Path:
    model.save_weights(path / "made.weights.h5")
    return path / "made.weights.h5"


def loaded(name: str, file: Path) -> Any:
    """The pooled-features model of `name`, filled from `file` by the real code."""
    import keras

    from lib.models.backbones import pooled_features

    images = keras.Input((32, 32, 3), dtype="uint8")
    return keras.Model(images, pooled_features(images, backbone(name), file))


@pytest.mark.slow
@pytest.mark.parametrize("write", [topological, keras_3])
@pytest.mark.parametrize("name", NAMES)
def test_weights_in_keras_layout_are_loaded_to_the_last_one(
    name: str, write: Callable[[Any, Path], Path], tmp_path: Path
) -> None:
    made = network(name)
    ours = loaded(name, write(made, tmp_path)).get_layer("backbone")
    assert len(ours.get_weights()) == len(made.get_weights()) > 50
    for ours_, theirs in zip(ours.get_weights(), made.get_weights(), strict=True):
        assert np.array_equal(ours_, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("write", [topological, keras_3])
@pytest.mark.parametrize(("name", "other"), [("resnet50", "densenet121"), ("densenet121", "mobilenet")])
def test_swapped_weights_are_refused_by_name(
    name: str, other: str, write: Callable[[Any, Path], Path], tmp_path: Path
) -> None:
    file = write(network(other), tmp_path)
    with pytest.raises(PermanentError, match=f"^{name} cannot take its weights from {file.name}: "):
        loaded(name, file)


@pytest.mark.slow
@pytest.mark.parametrize("write", [topological, keras_3])
def test_weights_of_another_shape_are_refused_by_name(write: Callable[[Any, Path], Path], tmp_path: Path) -> None:
    file = write(network("mobilenet", alpha=0.5), tmp_path)
    with pytest.raises(PermanentError, match=f"^mobilenet cannot take its weights from {file.name}: .*shape"):
        loaded("mobilenet", file)


@pytest.mark.slow
def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path: Path) -> None:
    made = network("mobilenet")
    made.set_weights([np.full_like(weight, np.nan) for weight in made.get_weights()])
    with pytest.raises(PermanentError, match=r"^the weights of mobilenet in made\.weights\.h5 are not all finite"):
        loaded("mobilenet", keras_3(made, tmp_path))


def test_the_schema_knows_each_backbone_and_network_there_is() -> None:
    from lib.models.backbones import BACKBONES
    from lib.models.networks import NETWORKS

    assert set(backbone_schema.SMALLEST_PX) == set(BACKBONES)
    assert set(NETWORKS) == schema.NETWORKS


@pytest.mark.parametrize(
    ("name", "theirs"), [("resnet50", "resnet50"), ("inception-v3", "inception_v3"), ("densenet121", "densenet")]
)
def test_pixels_are_scaled_as_keras_scales_them_for_each_backbone(name: str, theirs: str) -> None:
    import keras

    from lib.models.backbones import BACKBONES

    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.float32)
    x = keras.Input((4, 4, 3))
    ours = keras.Model(x, BACKBONES[name].scale(x)).predict(pixels, verbose=0)
    expected = getattr(keras.applications, theirs).preprocess_input(pixels.copy())
    assert ours == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("network_", "px", "reason"),
    [("ResNet50", 28, "at least 32"), ("InceptionV3", 32, "at least 75")],
)
def test_the_notebooks_printed_backbones_cannot_be_built(network_: str, px: int, reason: str) -> None:
    import keras

    with pytest.raises(ValueError, match=reason):
        getattr(keras.applications, network_)(include_top=False, weights=None, input_shape=(px, px, 3))


def test_the_notebooks_printed_alexnet_cannot_be_built() -> None:
    from keras import Sequential, layers

    first = [layers.Input((32, 32, 3)), layers.Conv2D(96, 11, strides=4), layers.MaxPooling2D()]
    assert Sequential(first).output_shape == (None, 3, 3, 96)
    with pytest.raises(ValueError, match="size would be zero or negative"):
        Sequential([*first, layers.Conv2D(256, 11)])
