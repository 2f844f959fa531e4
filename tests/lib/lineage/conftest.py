"""A store to clean up."""

import os
from pathlib import Path

import pytest

from lib.store import LocalStore

from .made import age, computed_features, reported, trained


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def history(store: LocalStore) -> LocalStore:
    """Four days of one recipe and a report each; another recipe and a limited run on the first; litter of all kinds."""
    features = {key: computed_features(store, key) for key in ("f1", "f2")}
    other = trained(store, "o", 1, recipe="mlp")
    limited = trained(store, "l", 1, limit=9)
    reported(store, "rl", 1, limited, limit=9)
    for day in (1, 2, 3, 4):
        evaluation = trained(store, f"m{day}", day, features=features["f1" if day < 3 else "f2"])
        reported(store, f"r{day}", day, evaluation, other)
    store.write("models/toy/cnn/m1/data-loser.bin", b"loser")
    store.write("checkpoints/models/toy/cnn/m1/lease.json", b"{}")
    age(store, "models/toy/cnn/m1/data-loser.bin", days=2)
    age(store, "checkpoints", days=2)
    (store.root / "models/toy/.partial-00000000000000000000000000000000").write_bytes(b"half")
    os.utime(store.root / "models/toy/.partial-00000000000000000000000000000000", (0, 0))
    return store
