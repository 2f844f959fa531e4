"""Copies of an S3 store's files on this machine."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from lib.errors import PermanentError
from lib.store.cache import Cache

LONG_AGO = time.time() - 7200


def bring(cache: Cache, content: bytes) -> Path:
    return cache.copy("models/x.keras", hashlib.sha256(content).hexdigest(), len(content), lambda s: s.write(content))


def refuse(stream: BinaryIO) -> None:
    raise AssertionError("it must be there")


def kept(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def used(copy: Path, at: float) -> Path:
    os.utime(copy, (at, at))
    return copy


def test_above_its_bound_the_copies_that_were_used_least_recently_go(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=25)
    for age, content in enumerate((b"a" * 10, b"b" * 10)):
        used(bring(cache, content), LONG_AGO + age)
    bring(cache, b"a" * 10)  # used again, so that b is the older now
    bring(cache, b"c" * 10)
    assert kept(tmp_path) == {b"a" * 10, b"c" * 10}


def test_a_copy_that_was_just_given_out_stays_even_above_the_bound(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=15)
    given = [bring(cache, content) for content in (b"a" * 10, b"b" * 10, b"c" * 10)]
    assert all(copy.is_file() for copy in given)
    for copy in given:
        used(copy, LONG_AGO)
    bring(Cache(tmp_path, max_bytes=15), b"d" * 10)
    assert kept(tmp_path) == {b"d" * 10}


def test_a_full_folder_says_what_to_do(tmp_path: Path) -> None:
    def fill(stream: BinaryIO) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(PermanentError) as error:
        Cache(tmp_path, max_bytes=15).copy("models/x.keras", "0" * 64, 5, fill)
    assert str(error.value).endswith(": No space left on device; free space, or set CACHE_DIR to another place")


def test_an_open_copy_that_goes_can_be_read_to_its_end(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=15)
    with used(bring(cache, b"a" * 10), LONG_AGO).open("rb") as stream:
        bring(cache, b"b" * 10)
        assert kept(tmp_path) == {b"b" * 10}
        assert stream.read() == b"a" * 10


def test_files_that_are_no_copies_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("mine/thesis.txt", "notes"):
        used(tmp_path / name if (tmp_path / name).write_bytes(b"x" * 100) else tmp_path, LONG_AGO)
    bring(Cache(tmp_path, max_bytes=1), b"a" * 10)
    assert kept(tmp_path) == {b"x" * 100, b"a" * 10}


def test_a_file_of_someone_else_stays_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / ".partial-thesis.docx").write_bytes(b"mine")
    bring(Cache(tmp_path, 100), b"a")
    assert kept(tmp_path) == {b"mine", b"a"}


def test_what_a_killed_process_was_bringing_is_swept_at_the_next_start_and_what_a_living_one_brings_is_not(
    tmp_path: Path,
) -> None:
    script = """
import sys
from pathlib import Path
from lib.store.cache import Cache
def download(stream):
    stream.write(b"half")
    stream.flush()
    print("half", flush=True)
    sys.stdin.readline()
Cache(Path(sys.argv[1]), 100).copy("x", "0" * 64, 4, download)
"""
    dead, alive = (
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            cwd=Path(__file__).parents[3],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    )
    try:
        for process in (dead, alive):
            assert process.stdout is not None
            assert process.stdout.readline() == "half\n"
        assert len(list(tmp_path.glob(".partial-*"))) == 2
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        bring(Cache(tmp_path, 100), b"a")
        assert len(list(tmp_path.glob(".partial-*"))) == 1
    finally:
        alive.kill()
        alive.communicate()
        dead.communicate()
    bring(Cache(tmp_path, 100), b"a")
    assert list(tmp_path.glob(".partial-*")) == []


def test_a_folder_that_can_only_be_read_serves_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = bring(Cache(tmp_path, 100), b"hello")

    def refused(path: Path, *more: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "utime", refused)
    copy = Cache(tmp_path, 100).copy("models/x.keras", hashlib.sha256(b"hello").hexdigest(), 5, refuse)
    assert copy == given


def test_a_damaged_copy_is_brought_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=100)
    bring(cache, b"hello").write_bytes(b"jello")
    assert bring(cache, b"hello").read_bytes() == b"hello"
    assert cache.copy("models/x.keras", hashlib.sha256(b"hello").hexdigest(), 5, refuse).read_bytes() == b"hello"


def test_a_copy_of_another_size_is_brought_again_and_not_read(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=100)
    with bring(cache, b"hello").open("wb") as copy:
        copy.truncate(8 * 10**12)
    started = time.monotonic()
    assert bring(cache, b"hello").read_bytes() == b"hello"
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_download_that_fails_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def download(stream: BinaryIO) -> None:
        stream.write(b"half")
        raise error

    with pytest.raises(error):
        Cache(tmp_path, 100).copy("x", "0" * 64, 4, download)
    assert kept(tmp_path) == set()


def test_a_copy_whose_digest_nobody_knows_goes_by_its_version_and_its_size(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=100)
    copy = cache.copy_of_version("s3://b/x.parquet", "1", 3, lambda stream: stream.write(b"one"))
    assert (copy.read_bytes(), copy.suffix) == (b"one", ".parquet")
    assert cache.copy_of_version("s3://b/x.parquet", "1", 3, refuse) == copy
    assert cache.copy_of_version("s3://b/x.parquet", "2", 3, lambda s: s.write(b"two")).read_bytes() == b"two"
    os.truncate(copy, 2)
    assert cache.copy_of_version("s3://b/x.parquet", "1", 3, lambda s: s.write(b"one")).read_bytes() == b"one"
