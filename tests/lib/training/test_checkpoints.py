"""State in the store: what is read back is what was saved, or the one before it."""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib.store import LocalStore
from lib.training.checkpoints import Progress, State, UnusableState, clear, newest_first, save

WORK = "checkpoints/toy/recipe/key"


def state(epoch: int, chunk: int = 0) -> State:
    weights = [np.full((2, 3), epoch, np.float32), np.array(chunk, np.int64)]
    progress = Progress(epoch=epoch, chunk=chunk, sums={"loss": 0.5}, history=[{"epoch": 1, "loss": 0.1}])
    return State(progress, weights, [np.array([1.5, epoch])], [np.array([7, 9], np.uint32)], [])


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def found(store: LocalStore) -> tuple[State | None, list[str]]:
    """The first usable state, and what is wrong with those after it."""
    problems = []
    for path, each in newest_first(store, WORK, 1 << 20):
        if isinstance(each, State):
            return each, problems
        problems.append(f"{Path(path).name[:11]} {each}")
    return None, problems


def places(store: LocalStore) -> list[str]:
    return sorted(Path(path).name.rsplit("-", 1)[0] for path in store.list(WORK))


def test_what_is_read_back_is_what_was_saved(store: LocalStore) -> None:
    save(store, WORK, state(3, 2))
    read, problems = found(store)
    assert read is not None
    assert read.progress == Progress(epoch=3, chunk=2, sums={"loss": 0.5}, history=[{"epoch": 1, "loss": 0.1}])
    assert repr(read.progress.history) == "[{'epoch': 1, 'loss': 0.1}]", "a whole number stays one"
    assert [w.tolist() for w in read.weights] == [[[3.0] * 3] * 2, 2]
    assert [w.dtype for w in read.weights] == [np.float32, np.int64]
    assert read.optimizer[0].tolist() == [1.5, 3]
    assert read.random[0].tolist() == [7, 9]
    assert (read.best_weights, problems) == ([], [])
    assert read.digest() == state(3, 2).digest() != state(3, 1).digest()


def test_one_that_is_too_large_or_no_file_is_passed_over_without_reading_it(store: LocalStore) -> None:
    save(store, WORK, state(1, 0))
    with (store.root / WORK / f"00002.00000-{'0' * 12}.npz").open("wb") as sparse:
        sparse.truncate(8 * 10**12)
    os.mkfifo(store.root / WORK / f"00003.00000-{'0' * 12}.npz")
    read, problems = found(store)
    assert read is not None
    assert read.progress.epoch == 1
    assert problems == ["00003.00000 it is no file", "00002.00000 it is too large"]


def test_the_last_two_are_kept(store: LocalStore) -> None:
    for epoch, chunk in ((1, 0), (1, 7), (2, 0), (11, 0)):
        save(store, WORK, state(epoch, chunk))
    assert places(store) == ["00002.00000", "00011.00000"]


def test_places_are_compared_as_numbers_not_as_text(store: LocalStore) -> None:
    for chunk in (99_998, 99_999, 100_000, 100_001):
        save(store, WORK, state(1, chunk))
    assert places(store) == ["00001.100000", "00001.100001"]
    read, _ = found(store)
    assert read is not None
    assert read.progress.chunk == 100_001


def test_what_was_just_saved_stays_and_what_was_passed_over_for_it_goes(store: LocalStore) -> None:
    for chunk in (5, 6):
        save(store, WORK, state(4, chunk))
    for path in store.list(WORK):
        store.write(path, b"damaged")
    save(store, WORK, state(1))
    assert places(store) == ["00001.00000"]
    save(store, WORK, state(2))
    assert places(store) == ["00001.00000", "00002.00000"]


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:200] + b"?" + data[201:], lambda _: b""])
def test_a_damaged_one_is_passed_over_for_the_one_before(store: LocalStore, damage: object) -> None:
    save(store, WORK, state(1))
    save(store, WORK, state(2))
    last = store.list(WORK)[-1]
    store.write(last, damage(store.read(last)))  # type: ignore[operator]
    read, problems = found(store)
    assert read is not None
    assert read.progress.epoch == 1
    assert problems == ["00002.00000 it does not match its digest"]


def packed(header: bytes, compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        array = io.BytesIO()
        np.save(array, np.frombuffer(header, np.uint8))
        for name, data in {"header": array.getvalue(), **members}.items():
            file.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def header(**progress: Any) -> bytes:
    return json.dumps({"address": WORK, "progress": progress}).encode()


def claims(shape: tuple[int, ...]) -> bytes:
    """A .npy file whose header says so many numbers, and that has none."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue()


DEFLATED = packed(header(), zipfile.ZIP_DEFLATED, **{"weights-0000": bytes(50_000)})
HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "garbage": bytes(range(256)) * 9,
    "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07garbage\x94.",
    "deflate damage": DEFLATED[:150] + b"\xff" * 20 + DEFLATED[170:],
    "a bomb": packed(header(), zipfile.ZIP_DEFLATED, **{"weights-0000": bytes(50_000_000)}),
    "deep JSON": packed(b"[" * 100_000),
    "another JSON": packed(b"[1, 2]"),
    "no JSON": packed(b"\xff{"),
    "unknown fields": packed(header(learned_since=1)),
    "fields of other types": packed(header(epoch="2", history=None)),
    "more numbers than there are": packed(header(), **{"weights-0000": claims((10**15,))}),
    "an array that is none": packed(header(), **{"weights-0000": b"none"}),
    "objects": packed(header(), **{"weights-0000": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False}"}),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_one_that_is_none_of_ours_is_passed_over_though_its_digest_is_right(store: LocalStore, data: bytes) -> None:
    save(store, WORK, state(1))
    store.write(f"{WORK}/00002.00000-{hashlib.sha256(data).hexdigest()[:12]}.npz", data)
    read, problems = found(store)
    assert read is not None
    assert read.progress.epoch == 1
    (problem,) = problems
    assert problem.startswith("00002.00000 it is damaged, or of another version of this code (")
    assert "\n" not in problem


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_waited_for(store: LocalStore, make: Callable[[Path], None]) -> None:
    save(store, WORK, state(1))
    make(store.root / WORK / f"00002.00000-{'0' * 12}.npz")
    read, _ = found(store)
    assert read is not None
    assert read.progress.epoch == 1


def test_one_of_another_training_is_passed_over_however_whole_it_is(store: LocalStore) -> None:
    save(store, WORK, state(1))
    save(store, "checkpoints/toy/recipe/other", state(2))
    (other,) = store.list("checkpoints/toy/recipe/other")
    store.write(f"{WORK}/{Path(other).name}", store.read(other))
    read, problems = found(store)
    assert read is not None
    assert read.progress.epoch == 1
    assert problems == ["00002.00000 it is of another training, checkpoints/toy/recipe/other"]


def test_those_in_a_folder_inside_are_another_s_and_stay(store: LocalStore, tmp_path: Path) -> None:
    other = LocalStore(tmp_path / "other")
    save(other, "mine", state(9))
    save(store, WORK, state(1))
    (store.root / WORK / "link").symlink_to(other.root / "mine")
    read, _ = found(store)
    assert read is not None
    assert read.progress.epoch == 1
    save(store, WORK, state(2))
    clear(store, WORK)
    assert len(other.list("mine")) == 1


def test_without_any_there_is_nothing_to_go_on_from(store: LocalStore) -> None:
    assert found(store) == (None, [])
    save(store, WORK, state(1))
    clear(store, WORK)
    assert found(store) == (None, [])


def progress(**changes: Any) -> Progress:
    """Of a training of two phases of 2 and 3 epochs, each of 4 chunks, in the second chunk of its fourth epoch."""
    history = [{"phase": number} for number in (1, 1, 2)]
    return Progress(**{"epoch": 3, "phase": 1, "phase_epoch": 1, "chunk": 1, "history": history, **changes})


@pytest.mark.parametrize(
    "whole",
    [
        progress(),
        Progress(),
        progress(epoch=5, phase=2, phase_epoch=0, chunk=0, history=[{"phase": number} for number in (1, 1, 2, 2, 2)]),
    ],
    ids=["under way", "begun", "ended"],
)
def test_progress_of_this_training_is_taken(whole: Progress) -> None:
    whole.check([2, 3], 4, stops_early=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": 999},
        {"phase": 7, "phase_epoch": 0},
        {"phase": -1},
        {"phase": 0},
        {"phase_epoch": -5},
        {"phase_epoch": 2},
        {"chunk": 4},
        {"chunk": -1},
        {"history": []},
        {"epoch": 2, "history": [{"phase": 1}, {"phase": 2}]},
        {"phase": 2, "phase_epoch": 0},
        {"epoch": 5, "phase_epoch": 3, "history": [{"phase": number} for number in (1, 1, 2, 2, 2)]},
        {"history": [{"phase": 1}, {"phase": 1}, {"phase": 9}]},
        {"history": [{"phase": 1}, {"phase": 1}, {}]},
    ],
    ids=str,
)
def test_progress_that_no_training_of_these_phases_comes_to_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UnusableState, match=r"^its progress is none of this training's$"):
        progress(**changes).check([2, 3], 4, stops_early=False)


def test_a_phase_that_stopped_early_may_be_shorter() -> None:
    short = progress(epoch=2, history=[{"phase": 1}, {"phase": 2}])
    short.check([2, 3], 4, stops_early=True)
    with pytest.raises(UnusableState):
        progress(epoch=1, history=[{"phase": 2}]).check([2, 3], 4, stops_early=True)


def test_a_state_whose_weights_are_no_numbers_is_refused() -> None:
    good = State(Progress(), [np.ones(2, np.float32)], [], [], [])
    good.check_fits(good)
    for bad in (np.nan, np.inf):
        spoilt = State(Progress(), [np.array([1, bad], np.float32)], [], [], [])
        with pytest.raises(UnusableState, match=r"^its weights are not all finite numbers$"):
            spoilt.check_fits(good)
