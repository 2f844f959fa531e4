"""Train a recipe on prepared data, resumable at any chunk of steps, bit for bit where the recipe is deterministic.

What is random (order, augmentation, dropout) is a function of (seed, epoch, chunk): a training that was killed and
resumed sees what an undisturbed one sees.
"""

import math
import time
from math import ceil
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lib.errors import PermanentError
from lib.lineage.manifests import Ref, find, load
from lib.lineage.steps import checkpoints_address
from lib.models.networks import enter_phase
from lib.models.schema import Phase, Recipe, model_address
from lib.runtime.interrupts import Interrupted, deferred_interrupts, raise_if_interrupted
from lib.runtime.jobs import Emit
from lib.runtime.leases import LEASE, lease
from lib.settings import Settings
from lib.store import Store
from lib.training import checkpoints
from lib.training.batches import TrainingRows
from lib.training.checkpoints import Progress, State
from lib.training.devices import machine, prepare_keras
from lib.training.optimizers import make_loss, make_optimizer
from lib.training.task import TrainingTask

CHUNK_STEPS = 50
EVALUATION_BATCH = 512
PROGRESS_EVERY_S = 0.5
FINISH_CHUNK_S = 15.0
"""Half of the time that a process gets to stop, here (`lib.runtime.processes.GRACE_S`) as on most schedulers."""


def run(
    store: Store,
    settings: Settings,
    emit: Emit,
    *,
    recipe: dict[str, Any],
    prepared: dict[str, Any],
    seed: int,
    weights: dict[str, Any] | None,
    features: dict[str, Any] | None,
) -> Ref:
    """The job's entry: commit the model of `recipe`, `prepared`, `seed` and `weights`, unless it is there."""
    task = TrainingTask(
        recipe=Recipe.model_validate(recipe),
        prepared=Ref.model_validate(prepared),
        seed=seed,
        weights=Ref.model_validate(weights) if weights else None,
        features=Ref.model_validate(features) if features else None,
    )
    return train(store, settings, emit, task)


def train(store: Store, settings: Settings, emit: Emit, task: TrainingTask) -> Ref:
    """Train to the end, from the last checkpoint where there is one, and commit `model.keras` and its history."""
    data = load(store, task.prepared)
    address = model_address(data.facts["dataset"], task.recipe, task.prepared, task.seed, task.weights)
    work = checkpoints_address(address)

    def wait(owner: str) -> None:
        emit({"event": "waiting", "for": owner})

    def warn(message: str) -> None:
        emit({"event": "warning", "message": message})

    with lease(store, f"{work}/{LEASE}", settings.lease_s, wait, warn) as check_ours:
        if done := find(store, address):
            return done[0]
        prepare_keras(task.recipe, settings.allow_cpu)
        inputs = task.inputs(store, data)
        trainer = Trainer(task.recipe, inputs.model, inputs.rows, inputs.validation, task.seed, emit)
        state, problems = checkpoints.latest(store, work)
        for problem in problems:
            warn(f"{problem}; going back to the one before")
        trainer.start(state)

        def save(state: State) -> None:
            check_ours()
            checkpoints.save(store, work, state)

        trainer.run(save, settings.checkpoint_interval_s)
        ref = task.commit(store, address, data, trainer.kept_weights(), trainer.state(), trainer.resumed_on)
        checkpoints.clear(store, work)
    return ref


class Trainer:
    """One training. Between chunks, `self.state` is all there is to it."""

    def __init__(
        self,
        recipe: Recipe,
        model: keras.Model,
        rows: TrainingRows,
        validation: tuple[np.ndarray, np.ndarray],
        seed: int,
        emit: Emit,
    ) -> None:
        """`validation` is inputs and labels."""
        self.recipe, self.model, self.rows, self.seed, self.emit = recipe, model, rows, seed, emit
        # Made once: for a small model, making it anew in each epoch takes longer than reading it.
        self.validation = tf.data.Dataset.from_tensor_slices(validation).batch(EVALUATION_BATCH)
        self.progress = Progress(machine=machine())
        self.best_weights: list[np.ndarray] = []
        self.resumed_on: list[dict[str, Any]] = []

    def start(self, state: State | None) -> None:
        """Begin, or go on from `state`."""
        if state is None:
            self._enter_phase(0)
            return
        self.progress, self.best_weights = state.progress, state.best_weights
        # After the last epoch no phase is under way; its optimizer is still that of the last.
        self._enter_phase(min(self.progress.phase, len(self.recipe.phases) - 1))
        self.model.set_weights(state.weights)
        variables = [*self.model.optimizer.variables, *_random_states(self.model)]
        for variable, value in zip(variables, [*state.optimizer, *state.random], strict=True):
            variable.assign(value)
        if self.progress.machine != machine():
            self.resumed_on.append(machine())
            message = f"begun on {self.progress.machine}, resumed on {machine()}: the last bits may differ"
            self.emit({"event": "warning", "message": message})
        epoch, chunk = self.progress.epoch, self.progress.chunk
        self.emit({"event": "resumed", "epoch": epoch, "step": chunk * CHUNK_STEPS, "history": self.progress.history})

    def state(self) -> State:
        """A copy of everything, as it is between two chunks."""
        return State(
            progress=Progress(**vars(self.progress)),
            weights=self.model.get_weights(),
            optimizer=[np.array(keras.ops.convert_to_numpy(v)) for v in self.model.optimizer.variables],
            random=[np.array(keras.ops.convert_to_numpy(v)) for v in _random_states(self.model)],
            best_weights=self.best_weights,
        )

    def run(self, save: Any, interval_s: float) -> None:
        """Train all phases. `save` takes a State: after each epoch, every `interval_s` within one, and on a signal.

        A signal lets the chunk under way end, where that takes at most FINISH_CHUNK_S; then Interrupted is raised.
        """
        started = saved = time.monotonic()
        before = self.progress.seconds
        safe = self.state()
        try:
            while self.progress.phase < len(self.recipe.phases):
                with deferred_interrupts():
                    self._chunk()
                    at_epoch_end = self.progress.chunk == ceil(self.rows.steps / CHUNK_STEPS)
                    if at_epoch_end:
                        self._end_epoch()
                    now = time.monotonic()
                    self.progress.seconds = before + now - started
                    safe = self.state()
                if at_epoch_end or now - saved >= interval_s:
                    save(safe)
                    saved = time.monotonic()
                self.progress.checkpoint_seconds += time.monotonic() - now
        except Interrupted:
            save(safe)
            epoch, chunk = safe.progress.epoch, safe.progress.chunk
            self.emit({"event": "stopped", "epoch": epoch, "step": chunk * CHUNK_STEPS})
            raise

    def _enter_phase(self, number: int) -> None:
        phase = self.recipe.phases[number]
        enter_phase(self.model, self.recipe, phase)
        self.model.compile(
            optimizer=make_optimizer(phase, self.rows.steps),
            loss=make_loss(self.recipe, self.model.output_shape[-1]),
            metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
            jit_compile=not self.recipe.deterministic and bool(tf.config.list_physical_devices("GPU")),
        )
        self.model.optimizer.build(self.model.trainable_variables)

    def _chunk(self) -> None:
        progress = self.progress
        _seed_layers(self.model, [self.seed, progress.epoch, progress.chunk])
        images, labels = self.rows.chunk(progress.epoch, progress.chunk, CHUNK_STEPS)
        first_step = progress.chunk * CHUNK_STEPS
        self.emit({"event": "chunk", **self._epoch_facts(), "step": first_step})
        watch = _Watch(self.emit, self._epoch_facts(), first_step, self._phase.learning_rate)
        # From arrays Keras would trace one step for whole batches of this size and one for any, and which of them runs
        # would depend on the chunk that a process began with. They differ in the last bits.
        batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(self.rows.batch_size).prefetch(1)
        fitted = self.model.fit(batches, shuffle=False, verbose=0, callbacks=[watch])
        sums = dict(progress.sums)
        for name in ("loss", "accuracy"):
            sums[name] = sums.get(name, 0.0) + fitted.history[name][0] * len(labels)
        sums["rows"] = sums.get("rows", 0) + len(labels)
        progress.sums, progress.chunk = sums, progress.chunk + 1

    def _end_epoch(self) -> None:
        progress, recipe = self.progress, self.recipe
        validation = self.model.evaluate(self.validation, verbose=0, return_dict=True, callbacks=[_StopInTime()])
        line = {
            "epoch": progress.epoch + 1,
            "phase": progress.phase + 1,
            "loss": progress.sums["loss"] / progress.sums["rows"],
            "accuracy": progress.sums["accuracy"] / progress.sums["rows"],
            "validation_loss": validation["loss"],
            "validation_accuracy": validation["accuracy"],
            "learning_rate": float(self.model.optimizer.learning_rate),
        }
        progress.history = [*progress.history, line]
        if recipe.keep == "best" and validation["accuracy"] > progress.best.get("validation_accuracy", -1):
            progress.best = {"epoch": line["epoch"], "validation_accuracy": validation["accuracy"]}
            self.best_weights = self.model.get_weights()
        gained = progress.lowest_validation_loss is None or validation["loss"] < progress.lowest_validation_loss
        progress.lowest_validation_loss = validation["loss"] if gained else progress.lowest_validation_loss
        progress.epochs_without_gain = 0 if gained else progress.epochs_without_gain + 1
        stopping = (
            recipe.early_stopping_epochs is not None and progress.epochs_without_gain >= recipe.early_stopping_epochs
        )
        progress.epoch, progress.chunk, progress.sums = progress.epoch + 1, 0, {}
        progress.phase_epoch += 1
        self.emit({"event": "epoch", **self._epoch_facts(), **line, "stopping": stopping})
        if stopping or progress.phase_epoch == self._phase.epochs:
            progress.phase, progress.phase_epoch = progress.phase + 1, 0
            progress.lowest_validation_loss, progress.epochs_without_gain = None, 0
            if progress.phase < len(recipe.phases):
                self._enter_phase(progress.phase)

    @property
    def _phase(self) -> Phase:
        return self.recipe.phases[self.progress.phase]

    def _epoch_facts(self) -> dict[str, Any]:
        return {"recipe": self.recipe.name, "epoch": self.progress.epoch + 1, "epochs": self.recipe.epochs,
                "steps": self.rows.steps}  # fmt: skip

    def kept_weights(self) -> list[np.ndarray]:
        """Those of the epoch that the recipe keeps."""
        return self.best_weights or list(self.model.get_weights())


class _StopInTime(keras.callbacks.Callback):
    """Gives up what is under way where it outlasts the patience with a signal."""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        raise_if_interrupted(FINISH_CHUNK_S)

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        raise_if_interrupted(FINISH_CHUNK_S)


class _Watch(_StopInTime):
    """Says now and then how far the epoch is, and stops at the step at which the loss diverges."""

    def __init__(self, emit: Emit, facts: dict[str, Any], first_step: int, rate: float) -> None:
        super().__init__()
        self.emit, self.facts, self.first_step, self.rate = emit, facts, first_step, rate
        self.said = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_train_batch_end(batch, logs)
        step, metrics = self.first_step + batch + 1, {name: float(value) for name, value in (logs or {}).items()}
        # The mean over the chunk so far, which the first bad step spoils.
        if not math.isfinite(metrics["loss"]):
            raise PermanentError(
                f"{self.facts['recipe']} diverged: the loss is {metrics['loss']} at step {step} of epoch "
                f"{self.facts['epoch']}; lower the rate: --set learning_rate={self.rate / 10:g}"
            )
        if time.monotonic() - self.said > PROGRESS_EVERY_S:
            self.said = time.monotonic()
            self.emit({"event": "progress", **self.facts, "step": step, **metrics})


def _seed_layers(model: keras.Model, seed: list[int]) -> None:
    """Set every layer's random state from `seed`."""
    for number, state in enumerate(_random_states(model)):
        state.assign(np.random.default_rng([*seed, number]).integers(2**32, size=2, dtype=np.uint32))


def _random_states(model: keras.Model) -> list[Any]:
    """Of each layer that draws. Backbones have none."""
    return [layer.seed_generator.state for layer in model.layers if hasattr(layer, "seed_generator")]
