"""State in the store: what is read back is what was saved, or the one before it."""

from pathlib import Path

import numpy as np
import pytest

from lib.store import LocalStore
from lib.training.checkpoints import Progress, State, clear, latest, save

WORK = "checkpoints/toy/recipe/key"


def state(epoch: int, chunk: int = 0) -> State:
    weights = [np.full((2, 3), epoch, np.float32), np.array(chunk, np.int64)]
    progress = Progress(epoch=epoch, chunk=chunk, sums={"loss": 0.5}, history=[{"epoch": 1, "loss": 0.1}])
    return State(progress, weights, [np.array([1.5, epoch])], [np.array([7, 9], np.uint32)], [])


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_what_is_read_back_is_what_was_saved(store: LocalStore) -> None:
    save(store, WORK, state(3, 2))
    found, damaged = latest(store, WORK)
    assert found is not None
    assert found.progress == Progress(epoch=3, chunk=2, sums={"loss": 0.5}, history=[{"epoch": 1, "loss": 0.1}])
    assert [w.tolist() for w in found.weights] == [[[3.0] * 3] * 2, 2]
    assert [w.dtype for w in found.weights] == [np.float32, np.int64]
    assert found.optimizer[0].tolist() == [1.5, 3]
    assert found.random[0].tolist() == [7, 9]
    assert (found.best_weights, damaged) == ([], [])
    assert found.digest() == state(3, 2).digest() != state(3, 1).digest()


def test_the_last_two_are_kept(store: LocalStore) -> None:
    for epoch, chunk in ((1, 0), (1, 7), (2, 0), (11, 0)):
        save(store, WORK, state(epoch, chunk))
    names = [Path(path).name[:11] for path in store.list(WORK)]
    assert names == ["00002.00000", "00011.00000"]


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:200] + b"?" + data[201:], lambda _: b""])
def test_a_damaged_one_is_passed_over_for_the_one_before(store: LocalStore, damage: object) -> None:
    save(store, WORK, state(1))
    save(store, WORK, state(2))
    last = store.list(WORK)[-1]
    store.write(last, damage(store.read(last)))  # type: ignore[operator]
    found, damaged = latest(store, WORK)
    assert found is not None
    assert found.progress.epoch == 1
    assert damaged == [f"{last} does not match its digest"]


def test_one_of_another_training_is_passed_over_however_whole_it_is(store: LocalStore) -> None:
    save(store, WORK, state(1))
    save(store, "checkpoints/toy/recipe/other", state(2))
    (other,) = store.list("checkpoints/toy/recipe/other")
    swapped = f"{WORK}/{Path(other).name}"
    store.write(swapped, store.read(other))
    found, problems = latest(store, WORK)
    assert found is not None
    assert found.progress.epoch == 1
    assert problems == [f"{swapped} is of another training: checkpoints/toy/recipe/other"]


def test_without_any_there_is_nothing_to_go_on_from(store: LocalStore) -> None:
    assert latest(store, WORK) == (None, [])
    save(store, WORK, state(1))
    clear(store, WORK)
    assert latest(store, WORK) == (None, [])


def test_one_that_another_version_of_the_code_saved_is_passed_over(store: LocalStore) -> None:
    save(store, WORK, state(1))
    later = state(2)
    vars(later.progress)["learned_since"] = 1
    save(store, WORK, later)
    last = store.list(WORK)[-1]
    found, problems = latest(store, WORK)
    assert found is not None
    assert found.progress.epoch == 1
    assert problems == [f"{last} was saved by another version of this code"]
