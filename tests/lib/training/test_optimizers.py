"""Schedules and losses against values worked out by hand."""

import numpy as np
import pytest

from lib.models.recipes import find_recipe
from lib.models.schema import Phase


def rate_at(phase: Phase, epoch_steps: int, step: int) -> float:
    from lib.training.optimizers import make_optimizer

    optimizer = make_optimizer(phase, epoch_steps)
    optimizer.iterations.assign(step)
    return float(optimizer.learning_rate)


def test_the_notebooks_rate_is_a_hundredth_times_a_tenth_to_the_epoch_over_ten() -> None:
    (phase,) = find_recipe("fashion-cnn-baseline").phases
    for epoch in (0, 1, 5, 10, 20):
        for step in (0, 6):
            assert rate_at(phase, 7, epoch * 7 + step) == pytest.approx(0.01 * 0.1 ** (epoch / 10), rel=1e-5)


def test_warmup_cosine_climbs_to_the_peak_in_a_tenth_and_ends_at_zero() -> None:
    phase = Phase(epochs=10, learning_rate=0.2, schedule="warmup-cosine")
    assert rate_at(phase, 10, 0) == pytest.approx(0.02)
    assert rate_at(phase, 10, 5) == pytest.approx(0.11)
    assert rate_at(phase, 10, 10) == pytest.approx(0.2)
    assert rate_at(phase, 10, 55) == pytest.approx(0.1)
    assert rate_at(phase, 10, 100) == pytest.approx(0, abs=1e-7)


def test_a_balanced_loss_counts_each_class_that_is_there_alike() -> None:
    from lib.training.optimizers import balanced_weights, make_loss

    labels = np.array([0, 0, 0, 2])
    # Two of three classes are there: 4 / (2 · 3) and 4 / (2 · 1), so that either has 2 in all.
    assert balanced_weights(labels, 3).tolist() == pytest.approx([2 / 3, 0, 2])
    recipe = find_recipe("digits-cnn").model_copy(update={"class_weight": "balanced", "label_smoothing": 0})
    guesses = np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]], np.float32)
    loss = make_loss(recipe, 3, labels)
    right = [2 / 3 * np.log(2), 2 * np.log(4)]
    assert np.asarray(loss(np.array([[0], [2]]), guesses)).tolist() == pytest.approx(right, rel=1e-5)
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Identity()])
    model.compile(loss=loss)
    assert model.evaluate(guesses, np.array([0, 2]), verbose=0) == pytest.approx(np.mean(right), rel=1e-5)


def test_a_smoothed_loss_is_the_hand_worked_one() -> None:
    from lib.training.optimizers import make_loss

    recipe = find_recipe("digits-cnn").model_copy(update={"label_smoothing": 0.3})
    loss = make_loss(recipe, 3)(np.array([[0]]), np.array([[0.5, 0.25, 0.25]], np.float32))
    # Targets 0.8, 0.1, 0.1.
    assert float(np.mean(loss)) == pytest.approx(0.8 * np.log(2) + 0.2 * np.log(4), rel=1e-5)


def test_one_hot_labels_give_the_same_loss_as_sparse_ones() -> None:
    import keras

    from lib.training.optimizers import make_loss

    labels = np.array([2, 0])
    probabilities = np.array([[0.2, 0.3, 0.5], [0.7, 0.2, 0.1]], np.float32)
    sparse = float(make_loss(find_recipe("digits-cnn"), 3)(labels, probabilities))
    one_hot = float(keras.losses.CategoricalCrossentropy()(np.eye(3)[labels], probabilities))
    assert sparse == pytest.approx(one_hot, rel=1e-6)
    assert sparse == pytest.approx(-(np.log(0.5) + np.log(0.7)) / 2, rel=1e-5)
