"""Train a recipe on prepared data, resumable at any chunk of steps, bit for bit where the recipe is deterministic.

What is random (order, augmentation, dropout) is a function of (seed, epoch, chunk): a training that was killed and
resumed sees what an undisturbed one sees.
"""

import time
from collections.abc import Iterator
from math import ceil
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lib.data.grouped import GroupedRows
from lib.lineage.manifests import Ref, find, load
from lib.lineage.steps import checkpoints_address
from lib.models.networks import enter_phase, of_views
from lib.models.schema import Phase, Recipe, Size, model_address
from lib.runtime.interrupts import Interrupted, deferred_interrupts
from lib.runtime.jobs import Emit, waits, warns
from lib.runtime.leases import LEASE, lease
from lib.runtime.usage import Spent
from lib.settings import Settings
from lib.store import Store
from lib.training import checkpoints
from lib.training.averaging import averaged
from lib.training.batches import TrainingRows, ValidationRows, resized
from lib.training.callbacks import StopInTime, Watch, check_finite, remedy_of
from lib.training.checkpoints import Progress, State, UnusableState
from lib.training.devices import machine, prepare_keras, start_tensorflow
from lib.training.optimizers import make_loss, make_optimizer
from lib.training.streams import random_states, seed_layers
from lib.training.task import TrainingTask

CHUNK_STEPS = 50
STATISTICS_STEPS = 16
"""Batches that BatchNorm's statistics of averaged weights are taken from."""
SHARE_OF_CHUNK = 0.5
"""Of the time that a process has to stop; the rest is for saving its state."""


def run(
    store: Store,
    settings: Settings,
    emit: Emit,
    *,
    recipe: dict[str, Any],
    prepared: dict[str, Any],
    seed: int,
    weights: dict[str, Any],
    features: dict[str, Any],
) -> Ref:
    """The job's entry: commit the model of `recipe`, `prepared`, `seed` and `weights`, unless it is there.

    `weights` and `features` are those of each backbone, by its name.
    """
    start_tensorflow()
    task = TrainingTask(
        recipe=Recipe.model_validate(recipe),
        prepared=Ref.model_validate(prepared),
        seed=seed,
        weights={name: Ref.model_validate(each) for name, each in weights.items()},
        features={name: Ref.model_validate(each) for name, each in features.items()},
    )
    return train(store, settings, emit, task)


def train(store: Store, settings: Settings, emit: Emit, task: TrainingTask) -> Ref:
    """Train to the end, from the last checkpoint where there is one, and commit `model.keras` and its history."""
    data = load(store, task.prepared)
    address = model_address(data.facts["dataset"], task.recipe, task.prepared, task.seed, task.weights)
    work = checkpoints_address(address)
    with lease(store, f"{work}/{LEASE}", settings.lease_s, waits(emit), warns(emit)) as check_ours:
        if done := find(store, address):
            return done[0]
        prepare_keras(task.recipe, settings.allow_cpu)
        inputs = task.inputs(store, data)
        network, rows, within_s = inputs.model, inputs.rows, settings.stop_within_s
        trainer = Trainer(task.recipe, network, rows, inputs.validation, task.seed, emit, within_s)
        trainer.start_from(checkpoints.newest_first(store, work, checkpoints.largest_bytes(network.count_params())))

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
        validation: tuple[np.ndarray | GroupedRows, np.ndarray],
        seed: int,
        emit: Emit,
        stop_within_s: float,
    ) -> None:
        """`validation` is inputs and labels; after a signal, state is to be saved within `stop_within_s`."""
        self.recipe, self.model, self.rows, self.seed, self.emit = recipe, model, rows, seed, emit
        self.validated = of_views(recipe, model, model.input_shape[1:])
        self.validation = ValidationRows(*validation)
        self.stop_within_s, self._told_of_slow_saves = stop_within_s, False
        self.progress = Progress(machine=machine())
        self.best_weights: list[np.ndarray] = []
        self.resumed_on: list[dict[str, Any]] = []

    def start_from(self, saved: Iterator[tuple[str, State | str]]) -> None:
        """Go on from the first usable state of `saved` (path, and state or what is wrong with it), or else begin."""
        for path, state in saved:
            problem = state
            if isinstance(state, State):
                try:
                    return self.start(state)
                except UnusableState as error:
                    problem = str(error)
            message = f"{path} is passed over: {problem}; going back to the one before"
            self.emit({"event": "warning", "message": message})
        return self.start(None)

    def start(self, state: State | None) -> None:
        """Begin, or go on from `state`. Raises UnusableState where that is not one of this training."""
        if state is None:
            self._enter_phase(0)
            return
        # After the last epoch no phase is under way; its optimizer is still that of the last.
        self._enter_phase(min(state.progress.phase, len(self.recipe.phases) - 1))
        epochs, stops_early = [phase.epochs for phase in self.recipe.phases], bool(self.recipe.early_stopping_epochs)
        state.progress.check(epochs, ceil(self.rows.steps / CHUNK_STEPS), stops_early)
        state.check_fits(self.state())
        self.progress, self.best_weights = state.progress, state.best_weights
        self.model.set_weights(state.weights)
        variables = [*self.model.optimizer.variables, *random_states(self.model)]
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
            random=[np.array(keras.ops.convert_to_numpy(v)) for v in random_states(self.model)],
            best_weights=self.best_weights,
        )

    def run(self, save: Any, interval_s: float) -> None:
        """Train all phases. `save` takes a State: after each epoch, every `interval_s` within one, and on a signal.

        A signal lets the chunk under way end, where that takes at most half of `stop_within_s`; then Interrupted is
        raised.
        """
        saved, spent = time.monotonic(), Spent(self.progress.seconds, self.progress.processor_seconds)
        safe = self.state()
        try:
            while self.progress.phase < len(self.recipe.phases):
                with deferred_interrupts():
                    self._chunk()
                    at_epoch_end = self.progress.chunk == ceil(self.rows.steps / CHUNK_STEPS)
                    if at_epoch_end:
                        self._end_epoch()
                    now = time.monotonic()
                    self.progress.seconds, self.progress.processor_seconds = spent.by_now()
                    safe = self.state()
                if at_epoch_end or now - saved >= interval_s:
                    save(safe)
                    saved = time.monotonic()
                    self._tell_of_slow_saves(saved - now)
                self.progress.checkpoint_seconds += time.monotonic() - now
        except Interrupted:
            save(safe)
            self.emit({"event": "stopped", "epoch": safe.progress.epoch, "step": safe.progress.chunk * CHUNK_STEPS})
            raise

    def _enter_phase(self, number: int) -> None:
        phase = self.recipe.phases[number]
        enter_phase(self.model, self.recipe, phase)
        self.model.compile(
            optimizer=make_optimizer(phase, self.rows.steps),
            loss=make_loss(self.recipe, self.model.output_shape[-1], self.rows.labels),
            metrics=_metrics(),
            jit_compile=not self.recipe.deterministic and bool(tf.config.list_physical_devices("GPU")),
        )
        if self.validated is not self.model:
            self.validated.compile(loss=self.model.loss, metrics=_metrics())
        self.model.optimizer.build(self.model.trainable_variables)

    def _chunk(self) -> None:
        progress = self.progress
        seed_layers(self.model, self.seed, progress.epoch, progress.chunk)
        images, labels = self._inputs(progress.epoch, progress.chunk, CHUNK_STEPS)
        first_step = progress.chunk * CHUNK_STEPS
        self.emit({"event": "chunk", **self._epoch_facts(), "step": first_step})
        watch = Watch(self._patience_s, self.emit, self._epoch_facts(), first_step, self._remedy)
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
        rows, watch = self.validation.of(self._size), StopInTime(self._patience_s)
        with averaged(self.model, lambda: self._inputs(0, 0, STATISTICS_STEPS)[0], self.rows.batch_size):
            validation = self.validated.evaluate(rows, verbose=0, return_dict=True, callbacks=[watch])
            weights = self.model.get_weights()
        line = {
            "epoch": progress.epoch + 1,
            "phase": progress.phase + 1,
            "loss": progress.sums["loss"] / progress.sums["rows"],
            "accuracy": progress.sums["accuracy"] / progress.sums["rows"],
            "validation_loss": validation["loss"],
            "validation_accuracy": validation["accuracy"],
            "learning_rate": float(self.model.optimizer.learning_rate),
        }
        losses = {"loss": line["loss"], "validation loss": line["validation_loss"]}
        check_finite(self._epoch_facts(), losses, self.model.get_weights(), self._remedy)
        progress.history = [*progress.history, line]
        if recipe.keep == "best" and validation["accuracy"] > progress.best.get("validation_accuracy", -1):
            progress.best = {"epoch": line["epoch"], "validation_accuracy": validation["accuracy"]}
            self.best_weights = weights
        if recipe.keep == "last":
            self.best_weights = weights if self._phase.averaging else []
        watched = validation["loss"] if recipe.early_stopping_on == "loss" else -validation["accuracy"]
        gained = progress.lowest_validation_loss is None or watched < progress.lowest_validation_loss
        progress.lowest_validation_loss = watched if gained else progress.lowest_validation_loss
        progress.epochs_without_gain = 0 if gained else progress.epochs_without_gain + 1
        patience = recipe.early_stopping_epochs
        stopping = patience is not None and progress.epochs_without_gain >= patience
        progress.epoch, progress.chunk, progress.sums = progress.epoch + 1, 0, {}
        progress.phase_epoch += 1
        self.emit({"event": "epoch", **self._epoch_facts(), **line, "stopping": stopping})
        if stopping or progress.phase_epoch == self._phase.epochs:
            progress.phase, progress.phase_epoch = progress.phase + 1, 0
            progress.lowest_validation_loss, progress.epochs_without_gain = None, 0
            if progress.phase < len(recipe.phases):
                self._enter_phase(progress.phase)

    def _inputs(self, epoch: int, chunk: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Of any epoch, as those of the epoch under way are resized and augmented; and labels."""
        size = self._size
        images, labels = self.rows.chunk(epoch, chunk, steps, size.augmentation if size else None)
        return (resized(images, size.px) if size else images), labels

    def _tell_of_slow_saves(self, took_s: float) -> None:
        left_s = self.stop_within_s * (1 - SHARE_OF_CHUNK)
        if took_s > left_s and not self._told_of_slow_saves:
            self._told_of_slow_saves = True
            message = (
                f"saving the state took {took_s:.0f} s, and a process that is asked to stop has {left_s:g} s for it: "
                "what was done since the last checkpoint may be lost then; set STOP_WITHIN_S to more than "
                f"{took_s / (1 - SHARE_OF_CHUNK):.0f}"
            )
            self.emit({"event": "warning", "message": message})

    @property
    def _size(self) -> Size | None:
        return self._phase.size_of(self.progress.phase_epoch)

    @property
    def _patience_s(self) -> float:
        return self.stop_within_s * SHARE_OF_CHUNK

    @property
    def _phase(self) -> Phase:
        return self.recipe.phases[self.progress.phase]

    @property
    def _remedy(self) -> str:
        return remedy_of(self.recipe, self._phase)

    def _epoch_facts(self) -> dict[str, Any]:
        return {"recipe": self.recipe.name, "epoch": self.progress.epoch + 1, "epochs": self.recipe.epochs,
                "steps": self.rows.steps}  # fmt: skip

    def kept_weights(self) -> list[np.ndarray]:
        """Those that the recipe keeps."""
        return self.best_weights or list(self.model.get_weights())


def _metrics() -> list[keras.Metric]:
    return [keras.metrics.SparseCategoricalAccuracy("accuracy")]
