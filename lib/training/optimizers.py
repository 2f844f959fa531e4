"""Optimizers and schedules of a phase. The rate is a function of the step, which is part of the optimizer's state."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from lib.models.schema import Phase, Recipe

Loss = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]


def make_optimizer(phase: Phase, epoch_steps: int) -> keras.Optimizer:
    """The optimizer of `phase`, for epochs of `epoch_steps` steps."""
    optimizer = _optimizer(phase, _schedule(phase, epoch_steps))
    # At the end of each fit, and so of each chunk, Keras would put the average in the place of the weights for good.
    optimizer.finalize_variable_values = lambda variables: None
    return optimizer


def _optimizer(phase: Phase, rate: float | keras.optimizers.schedules.LearningRateSchedule) -> keras.Optimizer:
    averaging: dict[str, Any] = {"use_ema": True, "ema_momentum": phase.averaging} if phase.averaging else {}
    if phase.optimizer == "adam":
        return keras.optimizers.Adam(rate, **averaging)
    if phase.optimizer == "sgd":
        decay = phase.weight_decay or None
        optimizer = keras.optimizers.SGD(rate, phase.momentum, phase.nesterov, weight_decay=decay, **averaging)
    else:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=phase.weight_decay, **averaging)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _schedule(phase: Phase, epoch_steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    steps = phase.epochs * epoch_steps
    warmup = max(1, round(steps * phase.warmup))
    if phase.schedule == "warmup-cosine":
        return keras.optimizers.schedules.CosineDecay(
            phase.learning_rate / 10, max(1, steps - warmup), warmup_target=phase.learning_rate, warmup_steps=warmup
        )
    if phase.schedule == "decay-per-epoch":
        return keras.optimizers.schedules.ExponentialDecay(
            phase.learning_rate, epoch_steps, phase.decay_per_epoch, staircase=True
        )
    return phase.learning_rate


def make_loss(recipe: Recipe, classes: int, labels: np.ndarray | None = None) -> keras.losses.Loss | Loss:
    """Cross-entropy of integer labels, smoothed and weighted where the recipe says so.

    `labels` (N,) are those that are trained on; only weights need them.
    """
    if recipe.class_weight == "balanced":
        assert labels is not None
        return _weighted(_cross_entropy(recipe, classes), balanced_weights(labels, classes))
    return _cross_entropy(recipe, classes) if recipe.label_smoothing else keras.losses.SparseCategoricalCrossentropy()


def balanced_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """(classes,) float32: with these, the images of each class that is there weigh as much as those of any other."""
    counts = np.bincount(labels, minlength=classes)
    present = np.count_nonzero(counts)
    weights: np.ndarray = np.where(counts > 0, len(labels) / (present * np.maximum(counts, 1)), 0)
    return weights.astype(np.float32)


def _cross_entropy(recipe: Recipe, classes: int) -> Loss:
    def smoothed(labels: keras.KerasTensor, probabilities: keras.KerasTensor) -> keras.KerasTensor:
        one_hot = keras.ops.one_hot(keras.ops.reshape(labels, [-1]), classes)
        return keras.losses.categorical_crossentropy(one_hot, probabilities, label_smoothing=recipe.label_smoothing)

    return smoothed


def _weighted(loss: Loss, weights: np.ndarray) -> Loss:
    def weighted(labels: keras.KerasTensor, probabilities: keras.KerasTensor) -> keras.KerasTensor:
        of_each = keras.ops.cast(keras.ops.reshape(labels, [-1]), "int32")  # Keras gives labels as numbers with a point
        return loss(labels, probabilities) * keras.ops.take(keras.ops.convert_to_tensor(weights), of_each)

    return weighted
