"""Fine-tuning in two phases: the head alone, then all, and interrupted in either."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib.models.schema import Augmentation, Backbone, Phase, Recipe
from lib.runtime.interrupts import Interrupted
from lib.store import LocalStore
from lib.training import checkpoints
from lib.training.batches import PaddedImages, TrainingImages
from lib.training.checkpoints import State

RECIPE = Recipe(
    name="toy",
    datasets=(),
    description="",
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


@pytest.fixture(autouse=True, scope="module")
def tiny() -> Iterator[None]:
    """A backbone of one convolution and one BatchNorm."""
    import keras
    from keras import layers

    from lib.models.backbones import BACKBONES, Network

    def build(include_top: bool, weights: None, input_shape: tuple[int, int, int]) -> Any:
        return keras.Sequential(
            [layers.Input(input_shape), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()]
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "tiny", Network(build, layers.Rescaling(1 / 255)))
        yield


def trainer(weights: Path | None = None, recipe: Recipe = RECIPE, policy: str = "float32") -> Any:
    """A trainer of `recipe` from `weights`, or else at random."""
    import keras

    from lib.models.networks import build
    from lib.training.devices import prepare_keras
    from lib.training.fit import Trainer

    recipe = recipe.starting_from(str(weights)) if weights else recipe
    prepare_keras(recipe, allow_cpu=True)
    keras.config.set_dtype_policy(policy)  # what prepare_keras does where there is a GPU
    model = build(recipe, (4, 4, 1), 2, {"tiny": weights} if weights else {})
    keras.config.set_dtype_policy("float32")
    rows = TrainingImages(PaddedImages.of(IMAGES, recipe.augmentation), LABELS, recipe.batch_size, 0)
    return Trainer(recipe, model, rows, (IMAGES, LABELS), 0, lambda _: None, 30)


def backbone_weights(model: Any) -> dict[str, list[float]]:
    return {
        weight.path.split("/")[-1]: weight.numpy().ravel().tolist() for weight in model.get_layer("backbone").weights
    }


@dataclass
class Undisturbed:
    """A whole training: its backbone at the start and after each epoch, the states that it saved, and its trainer."""

    trainer: Any
    start: dict[str, list[float]]
    backbones: list[dict[str, list[float]]]
    store: LocalStore


@pytest.fixture(scope="module")
def undisturbed(tiny: None, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    one = trainer()
    whole = Undisturbed(one, backbone_weights(one.model), [], LocalStore(tmp_path_factory.mktemp("store")))

    def save(state: State) -> None:
        whole.backbones.append(backbone_weights(one.model))
        checkpoints.save(whole.store, f"after-{state.progress.epoch}", state)

    one.start(None)
    one.run(save, interval_s=60)
    return whole


def test_the_first_phase_moves_the_head_alone_and_the_second_all(undisturbed: Undisturbed) -> None:
    assert [line["phase"] for line in undisturbed.trainer.progress.history] == [1, 1, 2, 2]
    assert undisturbed.backbones[0] == undisturbed.backbones[1] == undisturbed.start
    assert [name for name, values in undisturbed.start.items() if undisturbed.backbones[3][name] == values] == []


def test_batchnorm_keeps_the_statistics_that_came_with_pretrained_weights(tmp_path: Path) -> None:
    trainer().model.get_layer("backbone").save_weights(tmp_path / "backbone.weights.h5")
    one = trainer(tmp_path / "backbone.weights.h5")
    start = backbone_weights(one.model)
    one.start(None)
    one.run(lambda _: None, interval_s=60)
    end = backbone_weights(one.model)
    assert {name for name in start if end[name] == start[name]} == {"gamma", "beta", "moving_mean", "moving_variance"}


def test_an_interrupted_training_saves_the_state_of_the_last_whole_chunk(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    first, store = trainer(), LocalStore(tmp_path)
    first.start(None)
    saved: list[State] = []

    def save_then_stop(state: State) -> None:
        saved.append(state)
        if state.progress.epoch == 1:
            raise Interrupted(15)

    with pytest.raises(Interrupted):
        first.run(save_then_stop, interval_s=60)
    checkpoints.save(store, "work", saved[-1])
    assert_equal(newest(store, "work"), newest(undisturbed.store, "after-1"))


@pytest.mark.parametrize(("epoch", "place"), [(1, (0, 1)), (2, (1, 0)), (3, (1, 1))])
def test_interrupted_in_either_phase_it_resumes_there_and_ends_with_the_same_bits(
    epoch: int, place: tuple[int, int], undisturbed: Undisturbed
) -> None:
    state = newest(undisturbed.store, f"after-{epoch}")
    assert (state.progress.phase, state.progress.phase_epoch) == place
    second = trainer()
    second.start(state)
    second.run(lambda _: None, interval_s=60)
    assert_equal(second.state(), undisturbed.trainer.state())


def newest(store: LocalStore, address: str) -> State:
    _, state = next(checkpoints.newest_first(store, address, 1 << 30))
    assert isinstance(state, State)
    return state


def assert_equal(ours: State, theirs: State) -> None:
    """The same history, weights and optimizer, to the last bit."""
    assert ours.progress.history == theirs.progress.history
    for one, other in zip([*ours.weights, *ours.optimizer], [*theirs.weights, *theirs.optimizer], strict=True):
        assert np.array_equal(one, other)


def test_the_summary_lists_the_layers_of_the_backbone_in_its_place() -> None:
    from lib.training.task import _summary

    lines = _summary(trainer().model)
    assert [line["type"] for line in lines] == [
        "InputLayer", "Concatenate", "Resizing", "Rescaling", "InputLayer", "Conv2D", "BatchNormalization", "ReLU",
        "GlobalAveragePooling2D", "Dropout", "Dense", "Dropout", "Dense",
    ]  # fmt: skip
    by_type = {line["type"]: line for line in lines}
    assert (by_type["Conv2D"]["output_shape"], by_type["Conv2D"]["parameters"]) == ("(6, 6, 4)", 3 * 3 * 3 * 4 + 4)


@pytest.mark.slow
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
def test_gpu_recipes_compile_under_xla(request: pytest.FixtureRequest) -> None:
    from tensorflow.python.framework import config

    from lib.models.networks import build
    from lib.models.overrides import override
    from lib.models.recipes import find_recipe
    from lib.training.optimizers import make_loss, make_optimizer

    if config.is_op_determinism_enabled():  # by a test before this one; Keras then leaves XLA out
        config.disable_op_determinism()
        request.addfinalizer(config.enable_op_determinism)
    recipe = override(find_recipe("mobilenet"), 1, {"backbone.image_px": "32"})
    model = build(recipe, (32, 32, 3), 2)
    model.compile(optimizer=make_optimizer(recipe.phases[1], 1), loss=make_loss(recipe, 2), jit_compile=True)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    assert model.jit_compile
    assert np.isfinite(model.train_on_batch(images, np.arange(4) % 2))
