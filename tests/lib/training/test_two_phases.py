"""Fine-tuning in two phases: the head alone, then all, and interrupted in either."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib.data.batches import TrainingImages
from lib.interrupts import Interrupted
from lib.models.recipes import Augmentation, Backbone, Phase, Recipe
from lib.store import LocalStore
from lib.training import checkpoints
from lib.training.checkpoints import State

RECIPE = Recipe(
    name="toy",
    datasets=(),
    about="",
    network="dense-1024",
    backbone=Backbone(name="tiny", image_px=8, weights="none"),
    phases=(
        Phase(epochs=2, learning_rate=0.01, trains="head"),
        Phase(epochs=2, learning_rate=0.001, schedule="warmup-cosine"),
    ),
    augmentation=Augmentation(shift_px=1, flip=True),
    batch_size=8,
)
IMAGES = np.random.default_rng(0).integers(0, 256, (24, 4, 4, 1)).astype(np.uint8)
LABELS = np.arange(24) % 2


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backbone of one convolution and one BatchNorm."""
    import keras
    from keras import layers

    from lib.models.backbones import BACKBONES, Network

    def build(include_top: bool, weights: None, input_shape: tuple[int, int, int]) -> Any:
        return keras.Sequential(
            [layers.Input(input_shape), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()]
        )

    monkeypatch.setitem(BACKBONES, "tiny", Network(build, 4, layers.Rescaling(1 / 255)))


def trainer(weights: Path | None = None, recipe: Recipe = RECIPE, policy: str = "float32") -> Any:
    """A trainer of `recipe` from `weights`, or else at random."""
    import keras

    from lib.models.networks import build
    from lib.training.devices import prepare_keras
    from lib.training.fit import Trainer

    recipe = recipe.starting_from(str(weights)) if weights else recipe
    prepare_keras(recipe, allow_cpu=True, seed=0)
    keras.config.set_dtype_policy(policy)  # what prepare_keras does where there is a GPU
    model = build(recipe, (4, 4, 1), 2, weights)
    keras.config.set_dtype_policy("float32")
    rows = TrainingImages(IMAGES, LABELS, recipe.augmentation, recipe.batch_size, 0)
    return Trainer(recipe, model, rows, (IMAGES, LABELS), 0, lambda _: None)


def backbone_weights(model: Any) -> dict[str, list[float]]:
    return {
        weight.path.split("/")[-1]: weight.numpy().ravel().tolist() for weight in model.get_layer("backbone").weights
    }


def test_the_first_phase_moves_the_head_alone_and_the_second_all() -> None:
    one = trainer()
    start = backbone_weights(one.model)
    after: list[dict[str, list[float]]] = []
    one.start(None)
    one.run(lambda _: after.append(backbone_weights(one.model)), interval_s=60)
    assert [line["phase"] for line in one.progress.history] == [1, 1, 2, 2]
    assert after[0] == after[1] == start
    assert [name for name in start if after[3][name] == start[name]] == []


def test_batchnorm_keeps_the_statistics_that_came_with_pretrained_weights(tmp_path: Path) -> None:
    trainer().model.get_layer("backbone").save_weights(tmp_path / "backbone.weights.h5")
    one = trainer(tmp_path / "backbone.weights.h5")
    start = backbone_weights(one.model)
    one.start(None)
    one.run(lambda _: None, interval_s=60)
    end = backbone_weights(one.model)
    assert {name for name in start if end[name] == start[name]} == {"gamma", "beta", "moving_mean", "moving_variance"}


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_interrupted_in_either_phase_it_resumes_there_and_ends_with_the_same_bits(epoch: int, tmp_path: Path) -> None:
    undisturbed = trainer()
    undisturbed.start(None)
    undisturbed.run(lambda _: None, interval_s=60)

    store = LocalStore(tmp_path)
    first = trainer()
    first.start(None)

    def save_then_stop(state: State) -> None:
        checkpoints.save(store, "work", state)
        if state.progress.epoch == epoch:
            raise Interrupted(15)

    with pytest.raises(Interrupted):
        first.run(save_then_stop, interval_s=60)
    state, _ = checkpoints.latest(store, "work")
    assert state is not None
    assert (state.progress.epoch, state.progress.phase, state.progress.phase_epoch) == {
        1: (1, 0, 1), 2: (2, 1, 0), 3: (3, 1, 1),
    }[epoch]  # fmt: skip
    second = trainer()
    second.start(state)
    second.run(lambda _: None, interval_s=60)
    assert second.progress.history == undisturbed.progress.history
    for ours, theirs in zip(second.state().weights, undisturbed.state().weights, strict=True):
        assert np.array_equal(ours, theirs)
    for ours, theirs in zip(second.state().optimizer, undisturbed.state().optimizer, strict=True):
        assert np.array_equal(ours, theirs)


def test_mixed_precision_keeps_its_weights_in_float32_and_resumes_with_its_loss_scale() -> None:
    import keras

    half = RECIPE.model_copy(update={"precision": "mixed_float16"})
    first = trainer(recipe=half, policy="mixed_float16")
    first.start(None)
    first.run(lambda _: None, interval_s=60)
    assert isinstance(first.model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert {str(weight.dtype) for weight in first.kept_weights()} == {"float32"}
    second = trainer(recipe=half, policy="mixed_float16")
    second.start(first.state())
    for ours, theirs in zip(second.state().optimizer, first.state().optimizer, strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.slow
def test_gpu_recipes_compile_under_xla() -> None:
    from lib.models.networks import build
    from lib.models.recipes import find_recipe, override
    from lib.training.optimizers import make_loss, make_optimizer

    recipe = override(find_recipe("mobilenet"), 1, {"backbone.image_px": "32"})
    model = build(recipe, (32, 32, 3), 2)
    model.compile(optimizer=make_optimizer(recipe.phases[1], 1), loss=make_loss(recipe, 2), jit_compile=True)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    assert np.isfinite(model.train_on_batch(images, np.arange(4) % 2))
