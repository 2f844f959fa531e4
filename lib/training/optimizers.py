"""Optimizers and schedules of a phase. The rate is a function of the step, which is part of the optimizer's state."""

import keras

from lib.models.schema import Phase, Recipe

WARMUP_SHARE = 0.1


def make_optimizer(phase: Phase, epoch_steps: int) -> keras.Optimizer:
    """The optimizer of `phase`, for epochs of `epoch_steps` steps."""
    rate = _schedule(phase, epoch_steps)
    if phase.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=phase.momentum)
    if phase.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=phase.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _schedule(phase: Phase, epoch_steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    steps = phase.epochs * epoch_steps
    warmup = max(1, round(steps * WARMUP_SHARE))
    if phase.schedule == "warmup-cosine":
        return keras.optimizers.schedules.CosineDecay(
            phase.learning_rate / 10, max(1, steps - warmup), warmup_target=phase.learning_rate, warmup_steps=warmup
        )
    if phase.schedule == "decay-per-epoch":
        return keras.optimizers.schedules.ExponentialDecay(
            phase.learning_rate, epoch_steps, phase.decay_per_epoch, staircase=True
        )
    return phase.learning_rate


def make_loss(recipe: Recipe, classes: int) -> keras.losses.Loss:
    """Cross-entropy of integer labels, smoothed where the recipe says so."""
    if not recipe.label_smoothing:
        return keras.losses.SparseCategoricalCrossentropy()

    def smoothed(labels: keras.KerasTensor, probabilities: keras.KerasTensor) -> keras.KerasTensor:
        one_hot = keras.ops.one_hot(keras.ops.reshape(labels, [-1]), classes)
        return keras.losses.categorical_crossentropy(one_hot, probabilities, label_smoothing=recipe.label_smoothing)

    return smoothed
