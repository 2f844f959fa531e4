"""Training state in the store: whole or not at all, the last two kept, a damaged one passed over."""

import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from lib.lineage.digests import digest_arrays
from lib.lineage.manifests import put_file
from lib.store import Store

ARRAYS = ("weights", "optimizer", "random", "best_weights")
KEPT = 2


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
    """Put `state` into the store, then remove all but the last two."""
    header = json.dumps({"address": address, "progress": vars(state.progress)}).encode()
    buffer = io.BytesIO()
    np.savez(buffer, header=np.frombuffer(header, np.uint8), **state.arrays())  # type: ignore[arg-type]
    put_file(store, address, f"{state.progress.epoch:05d}.{state.progress.chunk:05d}.npz", buffer.getvalue())
    for old in _paths(store, address)[:-KEPT]:
        store.delete(old)


def latest(store: Store, address: str) -> tuple[State | None, list[str]]:
    """The last whole state of this training, and what is wrong with each that was passed over."""
    problems: list[str] = []
    for path in reversed(_paths(store, address)):
        data = store.read(path)
        if not PurePosixPath(path).stem.endswith(hashlib.sha256(data).hexdigest()[:12]):
            problems.append(f"{path} does not match its digest")
            continue
        try:
            saved_at, state = _decode(data)
        except (KeyError, TypeError, ValueError):
            problems.append(f"{path} was saved by another version of this code")
            continue
        if saved_at == address:
            return state, problems
        problems.append(f"{path} is of another training: {saved_at}")
    return None, problems


def clear(store: Store, address: str) -> None:
    """Remove every state: the model is in the store."""
    for path in _paths(store, address):
        store.delete(path)


def _paths(store: Store, address: str) -> list[str]:
    return [path for path in store.list(address) if path.endswith(".npz")]


def _decode(data: bytes) -> tuple[str, State]:
    """The address that the state was saved under, and the state."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        header = json.loads(arrays["header"].tobytes())
        names = sorted(arrays.files)
        lists = {kind: [arrays[name] for name in names if name.startswith(f"{kind}-")] for kind in ARRAYS}
    return header["address"], State(Progress(**header["progress"]), **lists)
