"""What lies where a file should, and what follows: one line, at once."""

import hashlib
import os
import socket
import time
from collections.abc import Callable
from io import BufferedReader
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from deployments.configuration import read_configuration
from lib.data.ingest import ingest
from lib.data.own import find_dataset
from lib.environment_file import read_env_file
from lib.errors import InTheWay, PermanentError, TooLarge
from lib.files import SETTLED_NS, file_digest, open_regular
from lib.lineage.manifests import find
from lib.runtime.gpus import one_gpu
from lib.runtime.leases import lease
from lib.settings import check_certificates
from lib.store import LocalStore
from lib.store.cache import Cache
from lib.store.contract import LARGEST_RECORD_BYTES
from tests.lib.store.made import HELLO


def socket_at(path: Path) -> None:
    os.chdir(path.parent)  # a socket's whole path may have 108 characters
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)


def folder_at(path: Path) -> None:
    (path / "within").mkdir(parents=True)


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a FIFO": (os.mkfifo, "Is a FIFO"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "Is a device"),
    "a socket": (socket_at, "Is a socket"),
    "a folder": (folder_at, "Is a directory"),
    "a dangling link": (lambda path: path.symlink_to("nowhere"), "Is a link that leads nowhere"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "Is a link that leads nowhere"),
}
PLACES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "manifest": ("manifest.json", lambda file: find(LocalStore(file.parents[1]), file.parent.name)),
    "new manifest": ("manifest.json", lambda file: LocalStore(file.parents[1]).create("work/manifest.json", b"")),
    "lease": ("lease.json", lambda file: lease(LocalStore(file.parents[1]), "work/lease.json", 1).__enter__()),
    "raw files' list": (
        "index.json",
        lambda file: ingest(
            find_dataset("fashion-mnist").model_copy(update={"name": "work"}),
            LocalStore(file.parents[2]),
            "file:///none",
            lambda *_: None,
        ),
    ),
    "checkpoint or data": ("x-1.npz", lambda file: LocalStore(file.parents[1]).read("work/x-1.npz", 1 << 30)),
    "file of an output": ("x.keras", lambda file: LocalStore(file.parents[1]).local_path("work/x.keras", HELLO, 5)),
    "written file": ("x.json", lambda file: LocalStore(file.parents[1]).write("work/x.json", b"")),
    "lock of a store": (".lock", lambda file: LocalStore(file.parent).replace("x", b"", "version")),
    "lock of the cache": (
        ".lock",
        lambda file: Cache(file.parent, 10**9).copy("x", HELLO, 5, lambda stream: stream.write(b"hello")),
    ),
    "lock on a GPU": ("0.lock", lambda file: one_gpu(["0"], print, file.parent).__enter__()),
    "environment file": (".env", read_env_file),
    "deployments": ("prefect.yaml", read_configuration),
    "certificates": ("ca.pem", lambda file: check_certificates("CA_FILE")),
}
ALLOWED = {("certificates", "a folder")}


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("place", "kind"), [each for each in product(PLACES, KINDS) if each not in ALLOWED])
def test_what_is_no_file_is_named_at_once(
    place: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name, use), (put, says) = PLACES[place], KINDS[kind]
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ("raw/work" if name == "index.json" else "work") / name
    file.parent.mkdir(parents=True)
    monkeypatch.setenv("CA_FILE", str(file))
    put(file)
    before = sorted(os.walk(tmp_path))
    with pytest.raises(PermanentError) as error:
        use(file)
    assert says in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(os.walk(tmp_path)) == before


def test_a_link_to_a_regular_file_is_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    (tmp_path / "link").symlink_to("file")
    with open_regular(tmp_path / "link") as stream:
        assert stream.read() == b"hello"


def test_of_a_record_no_more_is_read_than_one_may_have(tmp_path: Path) -> None:
    for size in (LARGEST_RECORD_BYTES + 1, 8 * 10**12):
        (tmp_path / "output").mkdir(exist_ok=True)
        with (tmp_path / "output" / "manifest.json").open("wb") as file:
            file.truncate(size)
        with pytest.raises(TooLarge) as error:
            find(LocalStore(tmp_path), "output")
        assert str(error.value) == (
            f"{tmp_path}/output/manifest.json must have at most 16,777,216 bytes; received {size:,}; "
            "it is not what was written there: remove it, and run again"
        )


def test_a_fifo_among_what_killed_processes_left_in_the_cache_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".partial-1")
    copy = Cache(tmp_path, 10**9).copy("x", HELLO, 5, lambda stream: stream.write(b"hello"))
    assert copy.read_bytes() == b"hello"


def test_what_is_in_the_way_is_told_from_what_is_not_there(tmp_path: Path) -> None:
    assert find(LocalStore(tmp_path), "output") is None
    (tmp_path / "output" / "manifest.json").mkdir(parents=True)
    with pytest.raises(InTheWay, match="Is a directory"):
        find(LocalStore(tmp_path), "output")


def test_a_file_is_digested_once_a_process_and_anew_where_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, hashed = tmp_path / "file", []

    def noting(stream: BufferedReader, kind: str) -> Any:
        hashed.append(stream.name)
        return file_digest_of_stream(stream, kind)

    file_digest_of_stream = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", noting)
    file.write_bytes(b"one")
    assert [file_digest(file) for _ in range(2)] == [hashlib.sha256(b"one").hexdigest()] * 2
    assert len(hashed) == 2, "just written: it might change once more within a step of the file system's clock"
    time.sleep(SETTLED_NS / 1e9 + 0.1)
    for _ in range(3):
        assert file_digest(file) == hashlib.sha256(b"one").hexdigest()
    assert len(hashed) == 3
    times = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # as one would who hides a change
    assert file_digest(file) == hashlib.sha256(b"two").hexdigest()
