"""What is no file of weights, or one that does harm, is refused by name at once."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from lib.models import weights
from lib.store import LocalStore

from .conftest import write_weights
from .test_weights import from_, refusal


def hdf5(path: Path, **datasets: Any) -> Path:
    """A file in Keras 2's layout with datasets that promise so many float32."""
    write_weights(path)
    with h5py.File(path, "a") as file:
        for name, shape in datasets.items():
            file.create_dataset(name, shape, "f4", chunks=(1024,))
    return path


def many_groups(path: Path) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["layer_names"] = ["conv1"]
        for number in range(5):
            file.create_group(f"{number}")


def sparse(size_bytes: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        write_weights(path)
        os.truncate(path, size_bytes)

    return make


def cut(path: Path) -> None:
    write_weights(path)
    path.write_bytes(path.read_bytes()[:-100])


def damaged(path: Path) -> None:
    raw = bytearray(write_weights(path).read_bytes())
    raw[40:400] = b"\xff" * 360
    path.write_bytes(raw)


def other_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["numbers"] = [1, 2]


def values_elsewhere(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/kernel", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def linked(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["layers"] = h5py.ExternalLink("/other.h5", "/layers")


NOT_A_FILE = "--weights must be imagenet, none, a file, an s3:// address or weights/BACKBONE/KEY of the store; "
WHOLE = "weights must be a whole HDF5 file; "
HOSTILE: dict[str, tuple[Callable[[Path], object] | str, str]] = {
    "nothing there": (lambda path: None, NOT_A_FILE + "received "),
    "a folder": (Path.mkdir, NOT_A_FILE + "received "),
    "a pipe": (os.mkfifo, NOT_A_FILE + "received "),
    "a link to nothing": (lambda path: path.symlink_to("gone"), NOT_A_FILE + "received "),
    "a link to itself": (lambda path: path.symlink_to(path), NOT_A_FILE + "received "),
    "a device": ("/dev/zero", NOT_A_FILE + "received '/dev/zero', and no file is there"),
    "the kernel's log": ("/proc/kmsg", WHOLE + "/proc/kmsg does not begin as one"),
    "a name of 300 letters": ("x" * 300, NOT_A_FILE),
    "a home of nobody": ("~no-such-user/x", NOT_A_FILE + "'~no-such-user/x' cannot be read: "),
    "a NUL": ("a\0b", NOT_A_FILE),
    "a store address without a key": ("weights/mobilenet/0", NOT_A_FILE + "received 'weights/mobilenet/0'"),
    "empty": (Path.touch, WHOLE),
    "sparse, 8 TB": (sparse(8 << 40), "weights must have at most 2,000,000,000 bytes; "),
    "zeros": (lambda path: os.truncate(path.open("w").name, 1_900_000_000), WHOLE),
    "text": (lambda path: path.write_text("<html>not found</html>"), WHOLE),
    "cut": (cut, WHOLE),
    "damaged": (damaged, "weights must be a"),
    "other HDF5": (other_hdf5, "weights must be an HDF5 file that Keras wrote"),
    "values in another file": (values_elsewhere, WHOLE + "received broken.h5 from "),
    "a link to another file": (linked, WHOLE + "received broken.h5 from "),
    "a promise of 4 TB": (lambda path: hdf5(path, big=(1 << 40,)), WHOLE + "received broken.h5 from "),
    "promises of 4 GB": (
        lambda path: hdf5(path, a=(500_000_000,), b=(500_000_000,)),
        WHOLE + "received broken.h5 from ",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_whole_weights_file_is_refused_by_name_at_once(store: LocalStore, mirror: Path, name: str) -> None:
    made, rule = HOSTILE[name]
    path = mirror / "broken.h5"
    source = made if isinstance(made, str) else str(path)
    if not isinstance(made, str):
        made(path)
    started = time.process_time()
    said = refusal(store, from_(source))
    assert said.startswith(rule)
    assert "\n" not in said
    assert len(said) < 600
    assert time.process_time() - started < 1


def test_more_datasets_than_any_network_has_are_refused(
    store: LocalStore, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "MOST_DATASETS", 4)
    many_groups(mirror / "many.h5")
    assert "it promises 0 bytes in 5 datasets" in refusal(store, from_(str(mirror / "many.h5")))
