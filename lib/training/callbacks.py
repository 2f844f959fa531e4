"""What looks on while Keras trains: signals, progress, and losses that are no numbers any more."""

import math
import time
from typing import Any

import keras
import numpy as np

from lib.errors import PermanentError, shortened
from lib.models.changes import differences
from lib.models.recipes import RECIPES
from lib.models.schema import Phase, Recipe
from lib.runtime.interrupts import raise_if_interrupted
from lib.runtime.jobs import Emit

PROGRESS_EVERY_S = 0.5
USUAL_RATE = 0.001
"""What any of the optimizers can begin with."""
HARMLESS = {"both_views", "early_stopping_epochs", "early_stopping_on", "epochs", "keep", "stream_above_mb"}
"""Settings that no loss depends on before the end of an epoch."""


class StopInTime(keras.callbacks.Callback):
    """Gives up what is under way where it lasts longer than `patience_s` after a signal."""

    def __init__(self, patience_s: float) -> None:
        super().__init__()
        self.patience_s = patience_s

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        raise_if_interrupted(self.patience_s)

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        raise_if_interrupted(self.patience_s)


class Watch(StopInTime):
    """Says now and then how far the epoch is, and stops at the step at which the loss diverges."""

    def __init__(self, patience_s: float, emit: Emit, facts: dict[str, Any], first_step: int, remedy: str) -> None:
        super().__init__(patience_s)
        self.emit, self.facts, self.first_step, self.remedy = emit, facts, first_step, remedy
        self.said = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_train_batch_end(batch, logs)
        step, metrics = self.first_step + batch + 1, {name: float(value) for name, value in (logs or {}).items()}
        # The mean over the chunk so far, which the first bad step spoils.
        if not math.isfinite(metrics["loss"]):
            raise diverged(self.facts, f"the loss is {metrics['loss']} at step {step} of", self.remedy)
        if time.monotonic() - self.said > PROGRESS_EVERY_S:
            self.said = time.monotonic()
            self.emit({"event": "progress", **self.facts, "step": step, **metrics})


def check_finite(facts: dict[str, Any], losses: dict[str, float], weights: list[np.ndarray], remedy: str) -> None:
    """Raise PermanentError where an epoch ends with a loss or a weight that is not finite.

    The loss of a step is that before the step: it does not show what the last one did.
    """
    for name, value in losses.items():
        if not math.isfinite(value):
            raise diverged(facts, f"the {name} is {value} at the end of", remedy)
    if not all(np.isfinite(array).all() for array in weights):
        raise diverged(facts, "a weight is not finite at the end of", remedy)


def diverged(facts: dict[str, Any], seen: str, remedy: str) -> PermanentError:
    return PermanentError(f"{facts['recipe']} diverged: {seen} epoch {facts['epoch']}; {remedy}")


def remedy_of(recipe: Recipe, phase: Phase) -> str:
    """What helps where a training of `recipe` diverges in `phase`: what its run set is suspected before the rate."""
    lower = f"lower the rate: --set learning_rate={min(phase.learning_rate / 10, USUAL_RATE):g}"
    usual = RECIPES.get(recipe.name)
    found = differences(usual.settings(), recipe.settings()) if usual else []
    suspects = [change for change in found if change.split()[0].rsplit(".", 1)[-1] not in HARMLESS]
    if all(change.split()[0].endswith("learning_rate") for change in suspects):
        return lower
    return f"this run changed {shortened('; '.join(suspects))}: take that back, or stay nearer to the recipe"
