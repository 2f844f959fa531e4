"""Training state in the store: whole or not at all, the last two kept, a damaged one passed over."""

import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from lib.manifests import put_file
from lib.store import Store

KEPT = 2
LEASE = "lease.json"


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
    """Epoch and dev accuracy of the weights kept by `keep: best`."""
    lowest_dev_loss: float | None = None
    epochs_without_gain: int = 0
    seconds: float = 0.0
    """Spent training, over all attempts."""
    machine: dict[str, Any] = field(default_factory=dict)
    """What bit-for-bit equality depends on: TensorFlow, CPU and threads."""


@dataclass(frozen=True)
class State:
    """Everything a training needs to go on as if it had never stopped."""

    progress: Progress
    weights: list[np.ndarray]
    optimizer: list[np.ndarray]
    best_weights: list[np.ndarray]


def save(store: Store, address: str, state: State) -> None:
    """Put `state` into the store, then remove all but the last two."""
    arrays = {
        f"{name}-{index:04d}": array
        for name in ("weights", "optimizer", "best_weights")
        for index, array in enumerate(getattr(state, name))
    }
    buffer = io.BytesIO()
    np.savez(buffer, progress=np.frombuffer(json.dumps(vars(state.progress)).encode(), np.uint8), **arrays)
    put_file(store, address, f"{state.progress.epoch:05d}.{state.progress.chunk:05d}.npz", buffer.getvalue())
    for old in _paths(store, address)[:-KEPT]:
        store.delete(old)


def latest(store: Store, address: str) -> tuple[State | None, list[str]]:
    """The last whole state, and the paths of damaged ones that were passed over."""
    damaged: list[str] = []
    for path in reversed(_paths(store, address)):
        data = store.read(path)
        if PurePosixPath(path).stem.endswith(hashlib.sha256(data).hexdigest()[:12]):
            return _decode(data), damaged
        damaged.append(path)
    return None, damaged


def clear(store: Store, address: str) -> None:
    """Remove every state: the model is in the store."""
    for path in _paths(store, address):
        store.delete(path)


def _paths(store: Store, address: str) -> list[str]:
    return [path for path in store.list(address) if path.endswith(".npz")]


def _decode(data: bytes) -> State:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        progress = Progress(**json.loads(arrays["progress"].tobytes()))
        names = sorted(arrays.files)
        lists = {
            kind: [arrays[name] for name in names if name.startswith(f"{kind}-")]
            for kind in ("weights", "optimizer", "best_weights")
        }
    return State(progress, **lists)
