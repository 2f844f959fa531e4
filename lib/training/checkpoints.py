"""Training state in the store: whole or not at all, the last two kept, a damaged one passed over."""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from lib.errors import NotFound, TooLarge
from lib.lineage.digests import digest_arrays
from lib.lineage.manifests import put_file
from lib.store import Store

HISTORY_BYTES = 1 << 28
"""Of a state, at most: all that does not grow with the network."""
ARRAYS = ("weights", "optimizer", "random", "best_weights")
NAME = re.compile(r"(\d+)\.(\d+)-[0-9a-f]{12}\.npz", re.ASCII)
"""Epoch, chunk and digest."""


class UnusableState(Exception):
    """A state that is whole and not of this training."""


@dataclass
class Progress:
    """Where a training stands, without its arrays."""

    epoch: int = 0
    """Finished epochs, over all phases."""
    phase: int = 0
    phase_epoch: int = 0
    """Finished epochs of this phase."""
    chunk: int = 0
    """Finished chunks of the epoch that is under way."""
    sums: dict[str, float] = field(default_factory=dict)
    """Of the epoch under way: rows, and metrics times rows."""
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)
    """Epoch and validation accuracy of the weights kept by `keep: best`."""
    lowest_validation_loss: float | None = None
    """Of this phase; where early stopping watches accuracy, the highest of it, with its sign turned."""
    epochs_without_gain: int = 0
    seconds: float = 0.0
    """Spent training, over all attempts."""
    processor_seconds: float = 0.0
    """The same of all cores."""
    checkpoint_seconds: float = 0.0
    """Of these, spent copying and saving state."""
    machine: dict[str, Any] = field(default_factory=dict)
    """What bit-for-bit equality depends on: TensorFlow, CPU and threads."""

    def check(self, epochs: list[int], chunks: int, stops_early: bool) -> None:
        """Raise UnusableState where no training of phases of `epochs`, each of `chunks`, comes to stand here."""
        done = [sum(line.get("phase") == number for line in self.history) for number in range(1, len(epochs) + 1)]
        finished = zip(done[: self.phase], epochs, strict=False)
        if not (
            0 <= self.phase <= len(epochs)
            and self.epoch == len(self.history) == sum(done)
            and all(count == most or (stops_early and 0 < count < most) for count, most in finished)
            and not any(done[self.phase + 1 :])
            and self.phase_epoch == (done[self.phase] if self.phase < len(epochs) else 0)
            and (self.phase == len(epochs) or self.phase_epoch < epochs[self.phase])
            and 0 <= self.chunk < chunks
        ):
            raise UnusableState("its progress is none of this training's")


PROGRESS = TypeAdapter(Progress)


@dataclass(frozen=True)
class State:
    """Everything a training needs to go on as if it had never stopped."""

    progress: Progress
    weights: list[np.ndarray]
    optimizer: list[np.ndarray]
    random: list[np.ndarray]
    """Of each layer that draws."""
    best_weights: list[np.ndarray]
    """Those to be kept so far, where they are not `weights`: of the best epoch, or averages."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array by name, in a fixed order."""
        return {f"{name}-{index:04d}": array for name in ARRAYS for index, array in enumerate(getattr(self, name))}

    def check_fits(self, ours: "State") -> None:
        """Raise UnusableState where it is none of the network that `ours` is of, or has weights that are no numbers."""
        best = ours.weights if self.best_weights else []
        for name, expected in {**vars(ours), "best_weights": best}.items():
            if name in ARRAYS and _shapes(getattr(self, name)) != _shapes(expected):
                raise UnusableState(f"its state of {name} has other shapes than this model's")
        if not all(np.isfinite(array).all() for array in [*self.weights, *self.best_weights]):
            raise UnusableState("its weights are not all finite numbers")

    def digest(self) -> str:
        """sha256 over every variable: two trainings with equal digests are the same to the last bit."""
        return digest_arrays(self.arrays().items())


def _shapes(arrays: list[np.ndarray]) -> list[Any]:
    return [(array.shape, array.dtype) for array in arrays]


def save(store: Store, address: str, state: State) -> None:
    """Put `state` into the store, then remove all but it and the one before it.

    One of a later place goes too: it was passed over, or this training would stand there.
    """
    header = json.dumps({"address": address, "progress": vars(state.progress)}).encode()
    buffer = io.BytesIO()
    np.savez(buffer, header=np.frombuffer(header, np.uint8), **state.arrays())  # type: ignore[arg-type]
    place = state.progress.epoch, state.progress.chunk
    new = put_file(store, address, f"{place[0]:05d}.{place[1]:05d}.npz", buffer.getvalue()).path
    saved = _saved(store, address)
    kept = {new, *[path for path, its_place in saved.items() if its_place < place][-1:]}
    for path in saved:
        if path not in kept:
            store.delete(path)


def newest_first(store: Store, address: str, max_bytes: int) -> Iterator[tuple[str, State | str]]:
    """Each path under which this training was saved, with the state, or with what is wrong with it.

    None has more than `max_bytes` (`largest_bytes`).
    """
    for path in reversed(_saved(store, address)):
        try:
            data = store.read(path, max_bytes)
        except (NotFound, TooLarge) as error:
            yield path, "it is no file" if isinstance(error, NotFound) else "it is too large"
            continue
        if not PurePosixPath(path).stem.endswith(hashlib.sha256(data).hexdigest()[:12]):
            yield path, "it does not match its digest"
            continue
        try:
            saved_at, state = _decode(data)
        except Exception as error:  # whatever NumPy makes of bytes that are none of ours
            yield path, f"it is damaged, or of another version of this code ({type(error).__name__})"
            continue
        yield path, state if saved_at == address else f"it is of another training, {saved_at}"


def largest_bytes(parameters: int) -> int:
    """Of a state of a network with so many: float32 weights, two more for the optimizer, averages, the best so far."""
    return 4 * 5 * parameters + HISTORY_BYTES


def clear(store: Store, address: str) -> None:
    """Remove every state: the model is in the store."""
    for path in _saved(store, address):
        store.delete(path)


def _saved(store: Store, address: str) -> dict[str, tuple[int, int]]:
    """Path and place (epoch, chunk) of each state, in their order. As text, 99999 would come after 100000."""
    paths = (path for path in store.list(address) if PurePosixPath(path).parent == PurePosixPath(address))
    found = {path: NAME.fullmatch(PurePosixPath(path).name) for path in paths}
    places = {path: (int(match[1]), int(match[2])) for path, match in found.items() if match}
    return dict(sorted(places.items(), key=lambda each: (each[1], each[0])))


def _decode(data: bytes) -> tuple[str, State]:
    """The address that the state was saved under, and the state. Raises almost anything where `data` is not ours."""
    with zipfile.ZipFile(io.BytesIO(data)) as members:
        # As `save` writes them, so that nothing takes more memory than the file.
        if sum(each.file_size for each in members.infolist()) > len(data):
            raise ValueError("its members must not be compressed")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        header = json.loads(arrays["header"].tobytes())
        names = sorted(arrays.files, key=lambda name: (len(name), name))
        lists = {kind: [arrays[name] for name in names if name.startswith(f"{kind}-")] for kind in ARRAYS}
    if not all(isinstance(array, np.ndarray) for arrays in lists.values() for array in arrays):
        raise ValueError("its members must be arrays")
    progress = Progress(**header["progress"])
    PROGRESS.validate_json(json.dumps(header["progress"]), strict=True)
    return str(header["address"]), State(progress, **lists)
