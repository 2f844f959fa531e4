"""Files of weights, a mirror of them and a store."""

from pathlib import Path

import h5py
import pytest

from lib.store import LocalStore


def write_weights(path: Path, content: float = 1.0) -> Path:
    """A file in Keras 2's layout."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["conv1"]
        file.create_dataset("conv1/kernel:0", data=[content])
    return path


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    return folder
