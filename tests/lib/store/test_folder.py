"""What a folder alone does."""

import errno
import fcntl
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.errors import PermanentError, TransientError
from lib.store import LocalStore, open_store
from lib.store.probe import broken_promise, require_promises

from .made import message


@pytest.mark.parametrize("use", ["create", "replace"])
def test_of_many_processes_exactly_one_wins(tmp_path: Path, use: str) -> None:
    script = """
import sys
from pathlib import Path
from lib.store import LocalStore
store = LocalStore(Path(sys.argv[1]))
version = store.read_version("old")[1]
print("ready", flush=True)
sys.stdin.readline()
me = sys.argv[3].encode()
print(store.create("new", me) if sys.argv[2] == "create" else store.replace("old", me, version))
"""
    store = LocalStore(tmp_path)
    store.write("old", b"start")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), use, str(number)],
            cwd=Path(__file__).parents[3],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=30)[0].strip() for process in processes]
    assert sorted(said) == ["False", "False", "False", "True"]
    assert store.read("new" if use == "create" else "old") == b"%d" % said.index("True")


@pytest.mark.parametrize("folder", ["a" * 300, "a/" * 3000], ids=["a name", "a path"])
def test_a_store_whose_own_name_is_too_long_is_named(tmp_path: Path, folder: str) -> None:
    store = LocalStore(tmp_path / folder)
    for use in (lambda: require_promises(store), lambda: store.list("x"), lambda: store.write("x", b"hello")):
        with pytest.raises(PermanentError, match=r"the store must be a folder that can be .*: File name too long; set"):
            use()


def test_who_tries_a_store_leaves_no_folder_that_was_not_there(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for name in ("there", "new"):
        assert broken_promise(LocalStore(tmp_path / name)) is None
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


@pytest.mark.parametrize("target", ["nowhere", "link"])
def test_a_store_that_is_a_link_that_leads_nowhere_is_no_empty_one(tmp_path: Path, target: str) -> None:
    (tmp_path / "link").symlink_to(target)
    store = LocalStore(tmp_path / "link")
    for use in (lambda: require_promises(store), lambda: store.list("x")):
        with pytest.raises(PermanentError, match=r"/link: Is a link that leads nowhere; set STORE_URI"):
            use()


@pytest.mark.parametrize("read", [LocalStore.read, lambda store, path: store.local_path(path, 64 * "0", 5)])
def test_a_file_in_a_bad_sector_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[LocalStore, str], object]
) -> None:
    store = LocalStore(tmp_path / "store")
    store.write("models/m/model.keras", b"hello")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")  # read() knows no name

    monkeypatch.setattr("lib.store.folder.read_regular", fail)
    monkeypatch.setattr("lib.store.folder.check_content", fail)
    with pytest.raises(PermanentError, match=r"Input/output error at models/m/model.keras; set STORE_URI"):
        read(store, "models/m/model.keras")


def test_a_network_file_system_that_is_away_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path / "store")
    store.write("a", b"hello")

    def fail(*_: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr("lib.store.folder.read_regular", fail)
    with pytest.raises(TransientError, match=r"^the store at .* did not answer: Stale file handle at a$"):
        store.read("a")


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links_is_refused_before_anything_is_made(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)
    store = LocalStore(tmp_path / "new" / "store")
    for use in (lambda: require_promises(store), lambda: broken_promise(store)):
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(PermanentError, match=r"^the store must lie on a file system with hard links, .*/new/store"):
            use()


def test_whether_a_folder_has_hard_links_is_tried_without_a_trace(tmp_path: Path) -> None:
    require_promises(LocalStore(tmp_path / "new" / "store"))
    assert list(tmp_path.iterdir()) == []


def test_a_local_write_cut_by_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from lib.errors import PermanentError
from lib.store import LocalStore
store = LocalStore(Path(sys.argv[1]))
for use in (store.write, store.create):
    try:
        use("a/x", bytes(1_000_000))
        sys.exit("the write should have failed")
    except PermanentError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "store")],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    received = f"received {tmp_path / 'store'}: File too large"
    line = f"the store must be a folder that can be written; {received}; free space, or set STORE_URI or --store to "
    assert [text.startswith(line) for text in done.stdout.splitlines()] == [True, True]
    assert [p for p in (tmp_path / "store").rglob("*") if p.is_file()] == []


def test_a_file_that_cannot_be_removed_is_named(tmp_path: Path) -> None:
    (tmp_path / "models/toy").mkdir(parents=True)  # rights and attributes do not stop every user; this does
    rule = f"must be a folder that can be written; received {tmp_path}: Is a directory at models/toy; set STORE_URI"
    with pytest.raises(PermanentError, match=re.escape(rule)):
        LocalStore(tmp_path).delete("models/toy")


def test_a_half_written_file_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".partial-killed").write_bytes(b"half")
    assert LocalStore(tmp_path).list("a") == []


def test_a_local_incomplete_upload_is_as_old_as_its_last_byte(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for age_s in (50, 70):
        file = tmp_path / "a" / f".partial-{age_s:032x}"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"half")
        os.utime(file, (time.time() - age_s,) * 2)
    assert store.incomplete_uploads("a", older_than_s=60) == [f"a/.partial-{70:032x}"]


def test_what_others_call_partial_is_no_incomplete_upload(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("thesis.tar", "70", f"{70:032X}x", f"{70:033x}"):
        (tmp_path / "a" / f".partial-{name}").touch()
    assert LocalStore(tmp_path).incomplete_uploads("a", older_than_s=0) == []


def test_ages_leave_nothing_in_the_folder(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write("a/x", b"")
    assert list(store.ages("a")) == ["a/x"]
    assert store.age("a/x") is not None
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [tmp_path / "a" / "x"]


def test_a_write_killed_before_its_end_is_an_incomplete_upload(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from lib.store import LocalStore
store = LocalStore(Path(sys.argv[1]))
store.write("a/w", b"")
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
store.write("a/x", b"half")
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=Path(__file__).parents[3], check=False)
    store = LocalStore(tmp_path)
    assert store.list("a") == ["a/w"]
    (cut,) = store.incomplete_uploads("a", older_than_s=0)
    store.discard(cut)
    assert list((tmp_path / "a").iterdir()) == [tmp_path / "a" / "w"]


def test_stored_files_have_the_rights_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    LocalStore(tmp_path).write("stored", b"")
    assert (tmp_path / "stored").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_file_address_is_a_folder(tmp_path: Path) -> None:
    open_store((tmp_path / "my store").as_uri(), tmp_path / "cache").write("x", b"hello")
    assert (tmp_path / "my store" / "x").read_bytes() == b"hello"


def test_a_store_under_a_regular_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = LocalStore(tmp_path / "file" / "store")
    for use in (lambda: store.write("x", b""), lambda: store.create("x", b""), lambda: store.replace("x", b"", "v")):
        with pytest.raises(PermanentError, match="the store must be a folder that can be written; received") as error:
            use()
        assert f"{tmp_path}/file/store: Not a directory; set STORE_URI or --store to another place" in message(error)


def test_a_regular_file_in_place_of_a_store_is_no_empty_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = LocalStore(tmp_path / "file")
    for use in (lambda: store.list("a"), lambda: store.ages("a"), lambda: store.incomplete_uploads("a", 0)):
        with pytest.raises(PermanentError, match=r"must be a folder that can be read; received .*: Not a directory; "):
            use()


@pytest.mark.parametrize("use", ["write", "create", "replace"])
def test_what_was_stored_survives_a_power_cut_with_the_names_of_its_folders(
    use: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "new" / "store")
    if use == "replace":
        store.write("a/b/x", b"one")
    version = store.read_version("a/b/x")[1] if use == "replace" else ""
    on_disk: list[tuple[str, list[str]]] = []

    def fsync(descriptor: int) -> None:
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        names = sorted(p.name for p in place.iterdir()) if place.is_dir() else []
        on_disk.append((place.name if place.is_dir() else "file", names))

    monkeypatch.setattr(os, "fsync", fsync)
    if use == "write":
        store.write("a/b/x", b"two")
    elif use == "create":
        assert store.create("a/b/x", b"two")
    else:
        assert store.replace("a/b/x", b"two", version)
    synced = [place for place, _ in on_disk]
    assert synced.index("file") < len(synced) - 1  # the content before the name
    assert synced[-1] == "b"
    assert "x" in on_disk[-1][1]
    if use != "replace":
        assert {"a", "store", "new", tmp_path.name} <= set(synced)


def test_replace_locks_a_file_that_is_open_for_writing_as_network_shares_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    monkeypatch.setattr(fcntl, "flock", lambda lock, how: modes.append(fcntl.fcntl(lock, fcntl.F_GETFL) & os.O_ACCMODE))
    store = LocalStore(tmp_path)
    store.write("a/x", b"one")
    assert store.replace("a/x", b"two", store.read_version("a/x")[1])
    assert modes == [os.O_WRONLY]
    assert store.list("a") == ["a/x"]
    assert store.incomplete_uploads("a", older_than_s=0) == []
