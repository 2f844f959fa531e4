"""Every recipe at its full size: the design's parameters, a training on real pixels, and a file plain Keras opens."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from lib.data.datasets import DATASETS
from lib.models.counts import Counts, count, find_counts
from lib.models.overrides import override
from lib.models.recipes import RECIPES
from lib.models.schema import Recipe
from lib.training.batches import PaddedImages, TrainingFeatures, TrainingImages, TrainingRows

# Dataset, recipe → the design's parameters, and those that training moves: of a pretrained backbone not BatchNorm's
# mean, variance, gamma and beta (four equal shares; InceptionV3's has no gamma).
PARAMETERS = {
    ("digits", "digits-cnn"): (50_138, 49_946),
    ("digits", "digits-softmax"): (10_250, 10_250),
    ("digits", "digits-cnn-gpu"): (50_138, 49_946),
    ("cifar100", "cifar-cnn"): (1_316_356, 1_316_356),
    ("cifar100", "cifar-fast"): (1_298_242, 1_298_242 - 27 * 54 - 2 * 54 - 2 * 1_056),
    ("cifar100", "cifar-cnn-baseline"): (1_316_356, 1_316_356),
    ("fashion-mnist", "fashion-cnn"): (1_813_050, 1_811_706),
    ("fashion-mnist", "fashion-fast"): (1_254_448, 1_254_448 - 9 * 18 - 2 * 18 - 2 * 1_056),
    ("fashion-mnist", "fashion-cnn-plain"): (1_813_050, 1_811_706),
    ("fashion-mnist", "fashion-cnn-baseline"): (1_813_050, 1_811_706),
    ("cifar100", "alexnet"): (24_350_180, 24_350_180),
    ("cifar100", "resnet50"): (25_788_388, 25_788_388 - 2 * 53_120),
    ("cifar100", "resnet50-baseline"): (25_788_388, 25_788_388 - 2 * 53_120),
    ("cifar100", "inception-v3"): (24_003_460, 24_003_460 - 3 * 17_216),
    ("cifar100", "inception-v3-baseline"): (24_003_460, 24_003_460 - 3 * 17_216),
    ("cifar100", "densenet121"): (8_189_604, 8_189_604 - 2 * 83_648),
    ("cifar100", "densenet121-baseline"): (8_189_604, 8_189_604 - 2 * 83_648),
    ("cifar100", "mobilenet"): (3_228_864 + 1_049_600 + 102_500, 3_228_864 + 1_049_600 + 102_500 - 2 * 21_888),
    ("fashion-mnist", "resnet50"): (25_696_138, 25_696_138 - 2 * 53_120),
    ("fashion-mnist", "resnet50-baseline"): (25_696_138, 25_696_138 - 2 * 53_120),
    ("fashion-mnist", "mobilenet"): (4_288_714, 4_288_714 - 2 * 21_888),
    ("fashion-mnist", "mobilenet-baseline"): (4_288_714, 4_288_714 - 2 * 21_888),
}
SMALL = [key for key in PARAMETERS if RECIPES[key[1]].backbone is None and key[1] != "alexnet"]
BIG = [key for key in PARAMETERS if key not in SMALL] + [
    ("cifar100", "mobilenet-frozen"),
    ("cifar100", "backbones-frozen"),
]
DIFFERENT = list({RECIPES[key[1]].network: key for key in reversed(SMALL)}.values())
"""Of the small ones, one recipe of each network: the others train it with other settings."""
NETWORKS = [
    *(key for key in BIG if not RECIPES[key[1]].baseline),
    *(key for key in SMALL if key not in DIFFERENT),
]
"""Of the big ones, a baseline is the same network at another size of images."""

PLAIN = """
import sys
sys.modules.update(lib=None, flows=None, tasks=None)
import keras, numpy as np
for folder in sys.argv[1:]:
    model = keras.saving.load_model(f"{folder}/model.keras")
    print(abs(model.predict(np.load(f"{folder}/images.npy"), verbose=0) - np.load(f"{folder}/said.npy")).max())
"""


def photographs(rows: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Crops of two photographs, (rows, H, W, C) uint8."""
    height, width, channels = shape
    random = np.random.default_rng(0)
    crops = []
    for number in range(rows):
        photograph = load_sample_images().images[number % 2]
        top, left = random.integers(photograph.shape[0] - height), random.integers(photograph.shape[1] - width)
        crops.append(photograph[top : top + height, left : left + width])
    images = np.stack(crops)
    return images if channels == 3 else images.mean(axis=3, keepdims=True).astype(np.uint8)


def step(recipe: Recipe, shape: tuple[int, int, int], classes: int, images: np.ndarray) -> list[np.ndarray]:
    """The weights of the recipe's network after one step in each phase, through the real training loop."""
    from lib.models.networks import HEAD, build_features, build_for_training
    from lib.training.devices import prepare_keras
    from lib.training.fit import Trainer

    prepare_keras(recipe, allow_cpu=True)
    whole = part = build_for_training(recipe, shape, classes)
    labels, inputs = np.arange(len(images)) % classes, images
    rows: TrainingRows = TrainingImages(PaddedImages.of(images, recipe.augmentation), labels, recipe.batch_size, 0)
    if recipe.backbone and recipe.backbone.frozen:
        part = whole.get_layer(HEAD)
        inputs = build_features(recipe, shape, None).predict(images, verbose=0)
        rows = TrainingFeatures(inputs[:, None], labels, recipe.batch_size, 0)
    before = {weight.path: weight.numpy().copy() for weight in part.trainable_weights}
    trainer = Trainer(recipe, part, rows, (inputs, labels), 0, lambda _: None, 30)
    trainer.start(None)
    trainer.run(lambda _: None, interval_s=600)
    moved = [not np.array_equal(before[weight.path], weight.numpy()) for weight in part.trainable_weights]
    assert np.mean(moved) > 0.9, f"{recipe.name}: a step moves nearly all weights"
    return list(whole.get_weights())


def check(keys: list[tuple[str, str]], folder: Path) -> None:
    from lib.models.networks import build

    folders = []
    for dataset, name in keys:
        spec, recipe = DATASETS[dataset], override(RECIPES[name], 1, {})
        classes = len(spec.class_names)
        images = photographs(6, spec.image_shape)
        model = build(recipe, spec.image_shape, classes)
        trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
        if (dataset, name) in PARAMETERS:
            assert (model.count_params(), trainable) == PARAMETERS[dataset, name], name
        # BatchNorm that came with weights is held; from a random start all moves.
        model.set_weights(step(recipe.starting_from("none"), spec.image_shape, classes, images))
        folders.append(folder / f"{dataset}-{name}")
        folders[-1].mkdir()
        model.save(folders[-1] / "model.keras")
        np.save(folders[-1] / "images.npy", images)
        np.save(folders[-1] / "said.npy", model.predict(images, verbose=0))
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, *map(str, folders)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    apart = [float(line) for line in done.stdout.split()]
    assert len(apart) == len(keys)
    assert max(apart) < 1e-5


@pytest.mark.slow
def test_small_networks_train_save_and_open_in_plain_keras(tmp_path: Path) -> None:
    check(DIFFERENT, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("key", NETWORKS, ids="-".join)
def test_other_networks_train_save_and_open_in_plain_keras(key: tuple[str, str], tmp_path: Path) -> None:
    check([key], tmp_path)


def test_every_network_of_the_notebook_has_a_recipe() -> None:
    assert set(PARAMETERS) <= {(dataset, name) for name, recipe in RECIPES.items() for dataset in recipe.datasets}


def counted(dataset: str, name: str) -> tuple[Counts, Counts | None]:
    spec = DATASETS[dataset]
    return count(RECIPES[name], spec.image_shape, len(spec.class_names)), find_counts(dataset, RECIPES[name])


@pytest.mark.parametrize("key", SMALL, ids="-".join)
def test_the_table_of_counts_is_true_of_small_networks(key: tuple[str, str]) -> None:
    found, listed = counted(*key)
    assert found == listed, "run: make docs; if the network has changed: python -m lib.models.counts"


@pytest.mark.slow
@pytest.mark.parametrize("key", BIG, ids="-".join)
def test_the_table_of_counts_is_true_of_big_networks(key: tuple[str, str]) -> None:
    found, listed = counted(*key)
    assert found == listed, "run: make docs; if the network has changed: python -m lib.models.counts"
    if key in PARAMETERS:
        assert (found.parameters, found.trainable) == PARAMETERS[key]


def test_operations_are_those_worked_out_by_hand() -> None:
    # 1,024 pixels scaled and shifted, 10 sums of 1,024 products with a bias each, and a softmax of 10.
    counts = find_counts("digits", RECIPES["digits-softmax"])
    assert counts is not None
    assert counts.flops - 2 * 1024 * 10 == pytest.approx(2 * 1024, rel=0.05)
