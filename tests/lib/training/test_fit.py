"""The training loop on a toy problem, in this process."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lib.errors import PermanentError
from lib.models.schema import Phase, Recipe
from lib.training.batches import PaddedImages, TrainingImages


def rows(count: int, seed: int, side: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Images of two classes, dim and bright, and their labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count).astype(np.int16)
    images = random.integers(0, 120, (count, side, side, 1)) + 120 * labels[:, None, None, None]
    return images.astype(np.uint8), labels


DEV = rows(16, 1)


def recipe(**changes: Any) -> Recipe:
    fields: dict[str, Any] = {
        "name": "toy",
        "datasets": (),
        "description": "",
        "network": "softmax",
        "phases": (Phase(epochs=3, learning_rate=0.01, optimizer="adam"),),
        "batch_size": 8,
    }
    return Recipe.model_validate(fields | changes)


def new_trainer(
    chosen: Recipe, size: int = 64, side: int = 4, stop_within_s: float = 30
) -> "tuple[Any, list[dict[str, Any]]]":
    """A trainer on `size` images of `side`×`side` pixels, and the events that it will say."""
    from lib.models.networks import build
    from lib.training.devices import prepare_keras
    from lib.training.fit import Trainer

    prepare_keras(chosen, allow_cpu=True)
    events: list[dict[str, Any]] = []
    images, labels = rows(size, 0, side)
    padded = PaddedImages.of(images, chosen.augmentation)
    model = build(chosen, (side, side, 1), 2)
    training = TrainingImages(padded, labels, chosen.batch_size, 0)
    return Trainer(chosen, model, training, rows(16, 1, side), 0, events.append, stop_within_s), events


def trained(chosen: Recipe) -> "tuple[Any, list[dict[str, Any]]]":
    trainer, events = new_trainer(chosen)
    trainer.start(None)
    trainer.run(lambda state: None, interval_s=60)
    return trainer, [event for event in events if event["event"] == "epoch"]


def test_each_epoch_leaves_a_line_of_history() -> None:
    trainer, epochs = trained(recipe())
    assert [line["epoch"] for line in trainer.progress.history] == [1, 2, 3]
    assert [event["epoch"] for event in epochs] == [1, 2, 3]
    assert trainer.progress.history[2]["loss"] < trainer.progress.history[0]["loss"]


def test_two_phases_follow_each_other_each_with_its_own_rate() -> None:
    phases = (Phase(epochs=1, learning_rate=0.01), Phase(epochs=2, learning_rate=0.001))
    trainer, _ = trained(recipe(phases=phases))
    history = trainer.progress.history
    assert [line["phase"] for line in history] == [1, 2, 2]
    assert [line["learning_rate"] for line in history] == pytest.approx([0.01, 0.001, 0.001])


def test_a_training_killed_after_its_last_epoch_has_nothing_left_to_do() -> None:
    first, _ = trained(recipe())
    second, events = new_trainer(recipe())
    second.start(first.state())
    second.run(lambda state: None, interval_s=60)
    assert [event["event"] for event in events] == ["resumed"]
    for weight, other in zip(second.kept_weights(), first.kept_weights(), strict=True):
        assert weight.tolist() == other.tolist()


def test_resumed_after_any_chunk_a_training_ends_with_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    from lib.training import fit

    # BatchNorm over 7 images: divided by a number that no float32 inverts exactly, so that how it is computed shows.
    # Chunks of 2 whole batches, and of one of 6 rows.
    monkeypatch.setattr(fit, "CHUNK_STEPS", 2)
    chosen = recipe(network="digits-cnn", batch_size=7, phases=(Phase(epochs=2, learning_rate=0.01),))
    undisturbed, _ = new_trainer(chosen, size=20, side=12)
    saved: list[Any] = []
    undisturbed.start(None)
    undisturbed.run(saved.append, interval_s=0)
    places = [(state.progress.epoch, state.progress.chunk) for state in saved]
    assert places == [(0, 1), (1, 0), (1, 1), (2, 0)]
    for state in saved[:-1]:
        resumed, _ = new_trainer(chosen, size=20, side=12)
        resumed.start(state)
        resumed.run(lambda state: None, interval_s=60)
        assert resumed.state().digest() == undisturbed.state().digest()


def test_early_stopping_ends_a_phase_after_so_many_epochs_without_a_lower_validation_loss() -> None:
    # A rate too small to change a float32 weight: no epoch after the first is better.
    phase = Phase(epochs=9, learning_rate=1e-12, optimizer="sgd")
    trainer, epochs = trained(recipe(phases=(phase,), early_stopping_epochs=2))
    assert len(trainer.progress.history) == 3
    assert [event["stopping"] for event in epochs] == [False, False, True]


@pytest.mark.parametrize(("watched", "epochs"), [("loss", 9), ("accuracy", 3)])
def test_early_stopping_watches_loss_or_accuracy(watched: str, epochs: int) -> None:
    # The loss falls a little in every epoch; too little for any image to change its class.
    phase = Phase(epochs=9, learning_rate=1e-4, optimizer="sgd")
    trainer, _ = trained(recipe(phases=(phase,), early_stopping_epochs=2, early_stopping_on=watched))
    assert len(trainer.progress.history) == epochs


def test_the_best_weights_are_those_of_the_epoch_with_the_highest_validation_accuracy() -> None:
    trainer, _ = trained(recipe(keep="best"))
    accuracies = [line["validation_accuracy"] for line in trainer.progress.history]
    assert trainer.progress.best["epoch"] == accuracies.index(max(accuracies)) + 1
    trainer.model.set_weights(trainer.kept_weights())
    kept = trainer.model.predict(DEV[0], verbose=0).argmax(axis=1)
    assert float((kept == DEV[1]).mean()) == pytest.approx(max(accuracies))


def test_a_diverged_loss_stops_at_once_and_says_where_and_what_to_do() -> None:
    # The first step moves the weights out of float32; the second meets them.
    with pytest.raises(
        PermanentError, match=r"^toy diverged: the loss is (nan|inf) at step 2 of epoch 1; lower the rate: --set lear"
    ):
        trained(recipe(phases=(Phase(epochs=1, learning_rate=1e38, optimizer="sgd"),)))


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("the last step", "a weight is not finite at the end of epoch 1"),
        ("a layer's running mean", "the validation loss is nan at the end of epoch 1"),
    ],
)
def test_what_diverges_where_no_step_shows_it_is_noticed_before_anything_is_saved(broken: str, says: str) -> None:
    trainer, _ = new_trainer(recipe(batch_size=64, phases=(Phase(epochs=1, learning_rate=1e-3, optimizer="sgd"),)))
    trainer.start(None)
    fit, weight = trainer.model.fit, trainer.model.weights[-1]

    def fit_and_break(*arguments: Any, **options: Any) -> Any:
        done = fit(*arguments, **options)
        # An unused class whose bias is -inf has probability 0 and spoils no loss; one of NaN spoils all.
        weight.assign([0.0, -np.inf] if broken == "the last step" else [0.0, np.nan])
        return done

    trainer.model.fit = fit_and_break
    if broken == "the last step":
        trainer.validation.labels *= 0
    saved: list[Any] = []
    with pytest.raises(PermanentError, match=rf"^toy diverged: {says}; lower the rate: --set learning_rate=0.0001$"):
        trainer.run(saved.append, interval_s=60)
    assert saved == []


def test_a_save_that_takes_longer_than_a_stop_leaves_is_said_once() -> None:
    trainer, events = new_trainer(recipe(), stop_within_s=1e-9)
    trainer.start(None)
    trainer.run(lambda state: None, interval_s=60)
    (said,) = [event["message"] for event in events if event["event"] == "warning"]
    assert said.startswith("saving the state took 0 s, and a process that is asked to stop has 5e-10 s for it: ")


def test_a_state_that_does_not_fit_the_model_is_passed_over_with_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    good = trained(recipe())[0].state()
    short = replace(good, weights=good.weights[:-1])
    wide = replace(good, optimizer=[np.zeros((*np.shape(each), 2)) for each in good.optimizer])
    trainer, events = new_trainer(recipe())
    trainer.start_from(iter([("c", "it is damaged"), ("b", short), ("a", wide), ("0", good)]))
    assert [event["message"] for event in events if event["event"] == "warning"] == [
        "c is passed over: it is damaged; going back to the one before",
        "b is passed over: its state of weights has other shapes than this model's; going back to the one before",
        "a is passed over: its state of optimizer has other shapes than this model's; going back to the one before",
    ]
    assert trainer.state().digest() == good.digest()


def test_what_was_good_before_the_loss_diverged_stays_saved() -> None:
    phases = (Phase(epochs=1, learning_rate=0.01), Phase(epochs=1, learning_rate=1e38, optimizer="sgd"))
    trainer, _ = new_trainer(recipe(phases=phases))
    trainer.start(None)
    saved: list[Any] = []
    with pytest.raises(PermanentError, match=r"at step \d of epoch 2; lower the rate: --set learning_rate=0.001$"):
        trainer.run(saved.append, interval_s=0)
    assert [state.progress.epoch for state in saved] == [1]
    assert all(np.isfinite(weights).all() for weights in saved[0].weights)


@pytest.mark.parametrize(
    ("stop_within_s", "place"), [(120, (1, 0)), (0, (0, 50))], ids=["the chunk ends in time", "the chunk is given up"]
)
def test_a_signal_lets_the_chunk_end_where_that_is_soon_and_what_is_whole_is_saved(
    stop_within_s: float, place: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lib.runtime import interrupts
    from lib.training import fit

    # 64 steps: a chunk of 50, and one of 14.
    trainer, events = new_trainer(recipe(batch_size=1), stop_within_s=stop_within_s)
    trainer.start(None)
    monkeypatch.setattr(interrupts, "_asked", [])
    saved: list[Any] = []

    def hear(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] == "chunk" and event["step"] == 50:
            interrupts._on_signal(15, None)

    trainer.emit = hear
    with pytest.raises(interrupts.Interrupted):
        trainer.run(saved.append, interval_s=60)
    assert events[-1] == {"event": "stopped", "epoch": place[0], "step": place[1]}
    assert (saved[-1].progress.epoch, saved[-1].progress.chunk * fit.CHUNK_STEPS) == place


def test_a_training_that_goes_on_on_another_machine_warns_and_records_it() -> None:
    from lib.training.devices import machine

    state = trained(recipe())[0].state()
    state.progress.machine = {**machine(), "threads": 64, "onednn": None}
    second, events = new_trainer(recipe())
    second.start(state)
    assert events[0]["event"] == "warning"
    assert "'threads': 64" in events[0]["message"]
    assert events[0]["message"].endswith("the last bits may differ")
    assert second.resumed_on == [machine()]
