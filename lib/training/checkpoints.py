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
    epochs_without_gain: int = 0
    seconds: float = 0.0
    """Spent training, over all attempts."""
    checkpoint_seconds: float = 0.0
    """Of these, spent copying and saving state."""
    machine: dict[str, Any] = field(default_factory=dict)
    """What bit-for-bit equality depends on: TensorFlow, CPU and threads."""


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

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array by name, in a fixed order."""
        return {f"{name}-{index:04d}": array for name in ARRAYS for index, array in enumerate(getattr(self, name))}

    def digest(self) -> str:
        """sha256 over every variable: two trainings with equal digests are the same to the last bit."""
        return digest_arrays(self.arrays().items())


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
    """Of a state of a network with so many: float32 weights, two more for the optimizer, and the best ones so far."""
    return 4 * 4 * parameters + HISTORY_BYTES


def clear(store: Store, address: str) -> None:
    """Remove every state: the model is in the store."""
    for path in _saved(store, address):
        store.delete(path)


def _saved(store: Store, address: str) -> dict[str, tuple[int, int]]:
    """Path and place (epoch, chunk) of each state, in their order. As text, 99999 would come after 100000."""
    found = {path: NAME.fullmatch(PurePosixPath(path).name) for path in store.list(address)}
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
