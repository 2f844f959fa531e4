"""Training on smaller images first, moving averages of weights, and models that look at both views."""

from typing import Any

import numpy as np
import pytest

from lib.models.schema import Augmentation, Phase, Recipe, Size
from lib.training import fit
from lib.training.batches import PaddedImages, TrainingImages, resized
from lib.training.checkpoints import State

MOMENTUM = 0.8
RECIPE = Recipe(
    name="toy",
    datasets=(),
    description="",
    network="whitened-resnet",
    dropout=0.2,
    phases=(
        Phase(
            epochs=4,
            optimizer="sgd",
            nesterov=True,
            learning_rate=0.05,
            schedule="warmup-cosine",
            warmup=0.5,
            weight_decay=0.01,
            averaging=MOMENTUM,
            sizes=(Size(epochs=1, px=4, augmentation=Augmentation()), Size(epochs=1, px=6)),
        ),
    ),
    augmentation=Augmentation(shift_px=1, flip=True, cutout_px=2),
    batch_size=8,
    both_views=True,
)
IMAGES = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3)).astype(np.uint8)
LABELS = np.arange(24) % 3


def trainer(recipe: Recipe = RECIPE, policy: str = "float32") -> Any:
    import keras

    from lib.models.networks import build_for_training
    from lib.training.devices import prepare_keras

    prepare_keras(recipe, allow_cpu=True)
    rows = TrainingImages(PaddedImages.of(IMAGES, recipe.augmentation), LABELS, recipe.batch_size, 0)
    keras.config.set_dtype_policy(policy)  # what prepare_keras does where there is a GPU
    model = build_for_training(recipe, (8, 8, 3), 3)
    keras.config.set_dtype_policy("float32")
    return fit.Trainer(recipe, model, rows, (IMAGES, LABELS), 0, lambda _: None, 30)


@pytest.fixture(scope="module")
def undisturbed() -> tuple[Any, dict[tuple[int, int], State]]:
    """A whole training of 12 steps, each a chunk of its own, and its state after each chunk, by epoch and chunk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "CHUNK_STEPS", 1)
        states: dict[tuple[int, int], State] = {}

        def save(state: State) -> None:
            states[state.progress.epoch, state.progress.chunk] = state

        one = trainer()
        one.start(None)
        one.run(save, interval_s=0)
    return one, states


def test_each_epoch_sees_images_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    one, seen = trainer(), []

    def looking(rows: Any, **options: Any) -> Any:
        seen.extend({tuple(images.shape[1:]) for images, _ in rows})
        return fitting(rows, **options)

    one.start(None)
    fitting = one.model.fit
    monkeypatch.setattr(one.model, "fit", looking)
    one.run(lambda state: None, interval_s=60)
    assert seen == [(4, 4, 3), (6, 6, 3), (8, 8, 3), (8, 8, 3)]


def test_a_size_has_an_augmentation_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    one, seen = trainer(), []

    def looking(epoch: int, chunk: int, steps: int, augmentation: Any) -> Any:
        seen.append((epoch, steps, augmentation))
        return chunk_of(epoch, chunk, steps, augmentation)

    one.start(None)
    chunk_of = one.rows.chunk
    monkeypatch.setattr(one.rows, "chunk", looking)
    one.run(lambda state: None, interval_s=60)
    own, recipes = Augmentation(), None
    trained = [(epoch, fit.CHUNK_STEPS, own if epoch == 0 else recipes) for epoch in range(4)]
    # BatchNorm's statistics of the averages are of the same augmentation, and of the same rows in each epoch.
    statistics = [(0, fit.STATISTICS_STEPS, each[2]) for each in trained]
    assert seen == [each for pair in zip(trained, statistics, strict=True) for each in pair]


def test_validation_is_of_the_size_that_is_trained_on_of_the_average_and_of_both_views(
    undisturbed: tuple[Any, dict[tuple[int, int], State]],
) -> None:
    one, states = undisturbed
    network = trainer().model
    for epoch, px in enumerate((4, 6, 8, 8)):
        network.set_weights(with_their_statistics(averages(states)[3 * epoch + 2], px))
        images = resized(IMAGES, px)
        both = (np.asarray(network(images)) + np.asarray(network(images[:, :, ::-1]))) / 2
        line = one.progress.history[epoch]
        assert line["validation_loss"] == pytest.approx(-np.log(both[np.arange(24), LABELS]).mean(), rel=1e-4)
        assert line["validation_accuracy"] == pytest.approx((both.argmax(axis=1) == LABELS).mean())


def test_what_is_kept_is_the_moving_average_and_training_goes_on_from_the_weights_themselves(
    undisturbed: tuple[Any, dict[tuple[int, int], State]],
) -> None:
    one, states = undisturbed
    expected_weights = with_their_statistics(averages(states)[-1], 8)
    for kept, expected in zip(one.kept_weights(), expected_weights, strict=True):
        np.testing.assert_allclose(kept, expected, rtol=1e-5, atol=1e-6)
    (phase,) = RECIPE.phases
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "CHUNK_STEPS", 1)
        plain = trainer(RECIPE.model_copy(update={"phases": (phase.model_copy(update={"averaging": 0.0}),)}))
        plain.start(None)
        plain.run(lambda state: None, interval_s=60)
    for ours, theirs in zip(plain.model.get_weights(), one.model.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)
    for kept, now in zip(plain.kept_weights(), plain.model.get_weights(), strict=True):
        assert np.array_equal(kept, now)


def test_in_mixed_precision_the_average_is_kept_too() -> None:
    import keras

    one = trainer(RECIPE.model_copy(update={"precision": "mixed_float16"}), policy="mixed_float16")
    one.start(None)
    one.run(lambda state: None, interval_s=60)
    assert isinstance(one.model.optimizer, keras.optimizers.LossScaleOptimizer)
    moving = [weight.trainable or "moving_" in weight.path for weight in one.model.weights]
    pairs = zip(one.kept_weights(), one.model.get_weights(), strict=True)
    assert [not np.array_equal(kept, raw) for kept, raw in pairs] == moving


def averages(states: dict[tuple[int, int], State]) -> list[list[np.ndarray]]:
    """After each step: the moving average of the trainable weights, and BatchNorm's statistics as they are."""
    weights = [states[place].weights for place in sorted(states)]
    trainable = [weight.trainable for weight in trainer().model.weights]
    found = [weights[0]]
    for now in weights[1:]:
        pairs = zip(found[-1], now, trainable, strict=True)
        found.append([MOMENTUM * old + (1 - MOMENTUM) * new if moves else new for old, new, moves in pairs])
    return found


def with_their_statistics(weights: list[np.ndarray], px: int) -> list[np.ndarray]:
    """`weights` with the statistics that BatchNorm sees of training images then: the mean over three batches."""
    import keras

    one, seen = trainer(), []
    sizes = {size.px: size.augmentation for size in RECIPE.phases[0].sizes}
    images, _ = one.rows.chunk(0, 0, 3, sizes.get(px))
    for start in (0, 8, 16):
        one.model.set_weights(weights)
        for layer in one.model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.0
        one.model(resized(images, px)[start : start + 8], training=True)
        seen.append(one.model.get_weights())
    return [np.mean(each, axis=0) for each in zip(*seen, strict=True)]


@pytest.mark.parametrize("place", [(0, 2), (1, 0), (1, 1), (2, 0), (3, 2)])
def test_resumed_at_any_size_it_ends_with_the_same_bits(
    place: tuple[int, int], undisturbed: tuple[Any, dict[tuple[int, int], State]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "CHUNK_STEPS", 1)
    one, states = undisturbed
    other = trainer()
    other.start(states[place])
    other.run(lambda state: None, interval_s=60)
    assert other.state().digest() == one.state().digest()
    for ours, theirs in zip(other.kept_weights(), one.kept_weights(), strict=True):
        assert np.array_equal(ours, theirs)


def test_the_finished_model_says_the_mean_of_what_its_network_says_of_both_views() -> None:
    from lib.models.networks import build, build_for_training

    network, model = build_for_training(RECIPE, (8, 8, 3), 3), build(RECIPE, (8, 8, 3), 3)
    weights = [weight + 0.01 for weight in network.get_weights()]
    network.set_weights(weights)
    model.set_weights(weights)
    both = (network(IMAGES, training=False) + network(IMAGES[:, :, ::-1], training=False)) / 2
    np.testing.assert_allclose(model(IMAGES, training=False), both, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model(IMAGES[:, :, ::-1], training=False), both, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("px", [1, 2, 3, 5, 8, 16])
def test_a_resized_pixel_is_the_mean_of_those_that_it_covers(px: int) -> None:
    cover = np.zeros((px, 8))
    for place in range(px):
        for pixel in range(8):
            cover[place, pixel] = max(0, min((place + 1) * 8 / px, pixel + 1) - max(place * 8 / px, pixel))
    cover /= cover.sum(axis=1, keepdims=True)
    expected = np.einsum("ya,xb,nabc->nyxc", cover, cover, IMAGES.astype(float))
    found = resized(IMAGES, px)
    assert (found.dtype, found.shape) == (np.uint8, (24, px, px, 3))
    assert np.abs(found - expected).max() <= 0.501
    assert resized(IMAGES, 8) is IMAGES


def test_sgd_takes_a_share_of_each_kernel_and_of_nothing_else() -> None:
    from lib.training.optimizers import make_optimizer

    phase = Phase(epochs=1, optimizer="sgd", learning_rate=0.5, weight_decay=0.1)
    import keras

    kernel, bias = keras.Variable(np.ones(2, np.float32), name="kernel"), keras.Variable(np.ones(2), name="bias")
    optimizer = make_optimizer(phase, 1)
    optimizer.apply([np.zeros(2, np.float32)] * 2, [kernel, bias])
    assert np.asarray(kernel) == pytest.approx([0.95, 0.95])
    assert np.asarray(bias) == pytest.approx([1, 1])
