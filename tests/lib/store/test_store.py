"""One contract, held by a folder and by S3."""

import hashlib
import os
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lib.errors import NotFound, PermanentError, TooLarge
from lib.store import LocalStore, Store

from .made import HELLO, cut_a_write, message


def test_what_is_written_is_read_back_and_overwritten(store: Store) -> None:
    store.write("a/b.txt", b"hello")
    assert store.read("a/b.txt") == b"hello"
    store.write("a/b.txt", b"bye")
    assert store.read("a/b.txt") == b"bye"


def test_a_file_is_written_with_its_content(store: Store, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(range(256)) * 40_000)  # 10 MB: several parts in S3
    store.write("large", tmp_path / "large")
    assert store.read("large") == bytes(range(256)) * 40_000


def test_an_empty_file_is_something(store: Store) -> None:
    store.write("empty", b"")
    assert store.exists("empty")
    assert store.read("empty") == b""


def test_no_more_is_read_than_was_asked_for(store: Store) -> None:
    store.write("a/x", b"hello")
    assert store.read("a/x", max_bytes=5) == b"hello"
    with pytest.raises(TooLarge, match=r"a/x must have at most 4 bytes; received 5; "):
        store.read("a/x", max_bytes=4)
    assert store.digest("a/x", 5) == (hashlib.sha256(b"hello").hexdigest(), 5)
    with pytest.raises(TooLarge, match=r"a/x must have at most 4 bytes; received 5; "):
        store.digest("a/x", 4)
    with pytest.raises(NotFound):
        store.digest("a/y", 4)


def test_reading_what_is_not_there_says_what_was_asked_for(store: Store) -> None:
    store.write("a/b/c", b"")
    for path in ("a/none", "a/b", "none/x"):
        with pytest.raises(NotFound, match=path):
            store.read(path)
        with pytest.raises(NotFound, match=path):
            store.local_path(path, HELLO, 5)


def test_exists_is_true_of_files_only_and_not_of_longer_names(store: Store) -> None:
    store.write("a/report-2", b"")
    assert store.exists("a/report-2")
    assert not store.exists("a/report")
    assert not store.exists("a")


def test_create_leaves_what_is_there(store: Store) -> None:
    assert store.create("a/x", b"first") is True
    assert store.create("a/x", b"second") is False
    assert store.read("a/x") == b"first"


def test_replace_wants_the_version_that_was_read(store: Store) -> None:
    store.write("x", b"one")
    data, version = store.read_version("x")
    assert data == b"one"
    assert store.replace("x", b"two", version) is True
    assert store.replace("x", b"three", version) is False
    assert store.read("x") == b"two"


def test_replace_of_what_is_gone_is_refused(store: Store) -> None:
    store.write("x", b"one")
    version = store.read_version("x")[1]
    store.delete("x")
    assert store.replace("x", b"two", version) is False
    assert not store.exists("x")


def test_delete_removes_and_does_not_mind_what_is_not_there(store: Store) -> None:
    store.write("a/x", b"")
    store.delete("a/x")
    store.delete("a/x")
    assert not store.exists("a/x")
    assert store.list("a") == []


def test_list_names_every_path_under_a_folder_in_order(store: Store) -> None:
    for path in ("a/2", "a/1", "a/deep/er/3", "ab/4", "b"):
        store.write(path, b"")
    assert store.list("a") == ["a/1", "a/2", "a/deep/er/3"]
    assert store.list("a/") == ["a/1", "a/2", "a/deep/er/3"]
    assert store.list("none") == []


def test_ages_are_seconds_since_each_write_whatever_the_clock_of_this_machine(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("a/deep/1", "a/2", "ab/3"):
        store.write(path, b"")
    cut_a_write(store, "a/cut")
    with monkeypatch.context() as clock:
        if isinstance(store, LocalStore):
            os.utime(store.root / "a/deep/1", (time.time() - 3600,) * 2)
            clock.setattr(time, "time", lambda: 0.0)
        ages = store.ages("a")
        alone = {path: store.age(path) for path in ages}
    assert alone == pytest.approx(ages, abs=30)
    assert sorted(ages) == store.list("a") == ["a/2", "a/deep/1"]
    assert 0 <= ages["a/2"] < 60
    assert 3599 * isinstance(store, LocalStore) <= ages["a/deep/1"] < 3660
    assert store.ages("none") == {}
    assert [store.age(path) for path in ("none", "a/none", "a/deep/1/none")] == [None] * 3


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/x", "", ".", "a\0b"])
def test_a_path_outside_the_store_is_refused(store: Store, path: str) -> None:
    uses: list[Callable[[], object]] = [
        lambda: store.read(path),
        lambda: store.write(path, b""),
        lambda: store.create(path, b""),
        lambda: store.replace(path, b"", "v"),
        lambda: store.delete(path),
        lambda: store.exists(path),
        lambda: store.list(path),
        lambda: store.ages(path),
        lambda: store.age(path),
        lambda: store.incomplete_uploads(path, 0),
        lambda: store.local_path(path, HELLO, 5),
        lambda: store.url(path),
    ]
    for use in uses:
        with pytest.raises(PermanentError, match="a store path is relative and stays inside the store") as error:
            use()
        assert repr(path) in message(error)


@pytest.mark.parametrize("name", ["a" * 300, "ä" * 128, "a" * 256 + "/x"], ids=["letters", "umlauts", "a folder"])
def test_a_name_that_no_file_system_takes_is_refused_by_both(store: Store, tmp_path: Path, name: str) -> None:
    store.write("x/there", b"hello")
    (tmp_path / "file").write_bytes(b"hello")
    uses: list[Callable[[], object]] = [
        lambda: store.write(f"x/{name}", b"hello"),
        lambda: store.write(f"x/{name}", tmp_path / "file"),
        lambda: store.create(f"x/{name}", b"hello"),
        lambda: store.replace(f"x/{name}", b"hello", "1"),
    ]
    for use in uses:
        with pytest.raises(PermanentError, match=r"^a name in a store must have at most 255 bytes; received") as error:
            use()
        assert len(message(error)) < 250
    with pytest.raises(PermanentError, match=r"^(a name in a store must|nothing is stored at)"):
        store.read(f"x/{name}")
    assert store.list("x") == ["x/there"]
    store.write(f"x/{'ä' * 127}b", b"hello")
    assert store.read(f"x/{'ä' * 127}b") == b"hello"


def test_a_path_means_the_same_with_empty_parts(store: Store) -> None:
    store.write("a//./b", b"hello")
    assert store.read("a/b") == b"hello"


def test_of_many_creates_at_once_exactly_one_wins(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: store.create("x", b"%d" % n), range(16)))
    assert sorted(won) == [False] * 15 + [True]
    assert store.read("x") == b"%d" % won.index(True)


def test_of_many_replaces_of_one_version_exactly_one_wins(store: Store) -> None:
    store.write("x", b"start")
    version = store.read_version("x")[1]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: store.replace("x", b"%d" % n, version), range(16)))
    assert sorted(won) == [False] * 15 + [True]
    assert store.read("x") == b"%d" % won.index(True)


def test_writing_a_source_that_is_missing_leaves_what_was_there(store: Store, tmp_path: Path) -> None:
    store.write("a/old", b"old")
    for path in ("a/old", "a/new"):
        with pytest.raises(PermanentError, match="what is to be stored must be a file") as error:
            store.write(path, tmp_path / "missing")
        assert str(tmp_path / "missing") in message(error)
    assert store.list("a") == ["a/old"]
    assert store.read("a/old") == b"old"


def test_local_path_holds_the_content(store: Store) -> None:
    store.write("a/x.bin", b"hello")
    assert store.local_path("a/x.bin", HELLO, 5).read_bytes() == b"hello"


def test_a_local_path_keeps_the_names_suffix_by_which_keras_opens_a_model(store: Store) -> None:
    store.write("a/model.keras", b"hello")
    assert store.local_path("a/model.keras", HELLO, 5).name == "model.keras"


def test_local_path_refuses_content_that_was_changed(store: Store) -> None:
    store.write("a/x.bin", b"jello")
    with pytest.raises(PermanentError, match=r"a/x\.bin in the store does not match its digest") as error:
        store.local_path("a/x.bin", HELLO, 5)
    found = hashlib.sha256(b"jello").hexdigest()
    assert f"expected sha256 {HELLO}, received {found}; " in message(error)


def test_local_path_refuses_another_size_without_reading_what_is_there(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("a/x.bin", b"hello")
    monkeypatch.setattr("lib.store.contract.file_digest", lambda path: pytest.fail("it must not be read"))
    with pytest.raises(PermanentError) as error:
        store.local_path("a/x.bin", HELLO, 8_000_000_000_000)
    assert message(error).startswith(
        "a/x.bin in the store must have 8,000,000,000,000 bytes, as its manifest says; received 5; it was changed "
    )
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.stat().st_size]


def test_url_opens_without_keys(store: Store) -> None:
    store.write("a/ä b.txt", b"hello")
    with urllib.request.urlopen(store.url("a/ä b.txt")) as page:
        assert page.read() == b"hello"


def test_an_incomplete_upload_is_found_by_its_age_and_discarded_alone(store: Store, tmp_path: Path) -> None:
    store.write("a/whole", b"hello")
    assert store.incomplete_uploads("a", older_than_s=0) == []
    for path in ("a/b/ä?x", "a/b/ä?x", "a/c/y", "ab/z"):
        cut_a_write(store, path)
    assert store.list("a") == ["a/whole"]
    assert store.incomplete_uploads("a", older_than_s=60) == []
    first, *others = store.incomplete_uploads("a", older_than_s=0)
    assert [first.startswith("a/b/"), len(others)] == [True, 2]
    store.discard(first)
    assert store.incomplete_uploads("a", older_than_s=0) == others
    store.discard(first)
    for each in others:
        store.discard(each)
    assert store.incomplete_uploads("a", older_than_s=0) == []
    (elsewhere,) = store.incomplete_uploads("ab", older_than_s=0)
    store.discard(elsewhere)
    assert store.read("a/whole") == b"hello"
