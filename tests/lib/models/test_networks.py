"""Networks have the notebook's parameters, to the last one."""

import random

import numpy as np
import pytest

from lib.models.recipes import RECIPES, find_recipe
from lib.models.schema import IMAGE_NETWORKS


@pytest.mark.parametrize(
    ("recipe", "shape", "classes", "parameters", "trainable"),
    [
        ("cifar-cnn", (32, 32, 3), 100, 1_316_356, 1_316_356),
        ("cifar-cnn-baseline", (32, 32, 3), 100, 1_316_356, 1_316_356),
        ("fashion-cnn", (28, 28, 1), 10, 1_813_050, 1_811_706),
        ("fashion-cnn-plain", (28, 28, 1), 10, 1_813_050, 1_811_706),
        ("fashion-cnn-baseline", (28, 28, 1), 10, 1_813_050, 1_811_706),
        ("digits-softmax", (32, 32, 1), 10, 32 * 32 * 10 + 10, 32 * 32 * 10 + 10),
    ],
)
def test_a_recipe_has_the_designs_parameters(
    recipe: str, shape: tuple[int, int, int], classes: int, parameters: int, trainable: int
) -> None:
    from lib.models.networks import build

    model = build(find_recipe(recipe), shape, classes)
    assert model.count_params() == parameters
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == trainable


def test_every_recipe_names_a_network() -> None:
    from lib.models.networks import NETWORKS

    assert {recipe.network for recipe in RECIPES.values()} <= set(NETWORKS)


@pytest.mark.parametrize("network", IMAGE_NETWORKS)
def test_a_network_can_be_built_for_its_least_side_and_for_no_smaller_one(network: str) -> None:
    from lib.models.networks import build_for_training

    recipe = next(each for each in RECIPES.values() if each.network == network and not each.backbone)
    least = IMAGE_NETWORKS[network]
    assert build_for_training(recipe, (least, least, 3), 2).output_shape == (None, 2)
    if least > 1:
        with pytest.raises(ValueError, match="Computed output size would be zero or negative"):
            build_for_training(recipe, (least - 1, least - 1, 3), 2)


def test_the_first_weights_are_a_function_of_the_seed_whatever_else_draws_random_numbers() -> None:
    from lib.models.networks import build

    def first(seed: int) -> list[float]:
        random.random()
        return list(build(find_recipe("digits-softmax"), (32, 32, 1), 10, seed=seed).get_weights()[0].ravel())

    assert first(3) == first(3) != first(4)


def test_whitened_patches_are_uncorrelated_frequencies_of_unit_variance_and_their_negatives() -> None:
    import keras
    from scipy.ndimage import gaussian_filter

    from lib.models.networks import build_for_training

    model = build_for_training(find_recipe("cifar-fast"), (32, 32, 3), 100)
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    kernel = np.asarray(first.kernel)
    waves = kernel[..., :27].reshape(27, 27)
    assert not first.trainable
    assert waves.T @ waves == pytest.approx(np.eye(27), abs=1e-6)
    assert waves[:, 0] == pytest.approx(np.full(27, 1 / np.sqrt(27)))  # the mean of a patch
    assert np.array_equal(kernel[..., 27:], -kernel[..., :27])

    noise = np.random.default_rng(0).normal(size=(16, 32, 32, 3))
    smooth = gaussian_filter(noise, (0, 1, 1, 0))
    images = np.clip(128 + 200 * smooth, 0, 255).astype(np.uint8)
    index = model.layers.index(first)
    normalised = keras.Model(model.input, model.layers[index + 1].output)(images, training=True)
    maps = np.asarray(normalised)[..., :27].reshape(-1, 27)
    assert maps.var(axis=0) == pytest.approx(np.ones(27), rel=0.1)
    neighbours = np.corrcoef(images[:, :, :-1, 0].ravel(), images[:, :, 1:, 0].ravel())[0, 1]
    between = np.corrcoef(maps.T) - np.eye(27)
    assert neighbours > 0.7
    assert np.abs(between).mean() < 0.05


def test_raw_uint8_images_give_probabilities() -> None:
    from lib.models.networks import build

    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 1), dtype=np.uint8)
    probabilities = build(find_recipe("digits-cnn"), (32, 32, 1), 10).predict(images, verbose=0)
    assert probabilities.shape == (3, 10)
    assert probabilities.sum(axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
