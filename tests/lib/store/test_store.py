"""One contract, held by a folder and by S3."""

import hashlib
import os
import resource
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lib.errors import NotFound, PermanentError, PipelineError, TransientError
from lib.store import LocalStore, Store, open_store
from lib.store.s3 import S3Store

# printf hello | sha256sum
HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(str(tmp_path / "store"), tmp_path / "cache")
    server = request.getfixturevalue("s3_environment")
    return open_store(f"s3://{server.bucket}/{uuid.uuid4().hex}", tmp_path / "cache")


def message(error: pytest.ExceptionInfo[PipelineError]) -> str:
    """The error's text, which must be one line."""
    text = str(error.value)
    assert "\n" not in text
    return text


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


def test_reading_what_is_not_there_says_what_was_asked_for(store: Store) -> None:
    store.write("a/b/c", b"")
    for path in ("a/none", "a/b", "none/x"):
        with pytest.raises(NotFound, match=path):
            store.read(path)
        with pytest.raises(NotFound, match=path):
            store.local_path(path, HELLO)


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
        lambda: store.local_path(path, HELLO),
        lambda: store.url(path),
    ]
    for use in uses:
        with pytest.raises(PermanentError, match="a store path is relative and stays inside the store") as error:
            use()
        assert repr(path) in message(error)


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
    assert store.local_path("a/x.bin", HELLO).read_bytes() == b"hello"


def test_a_local_path_keeps_the_names_suffix_by_which_keras_opens_a_model(store: Store) -> None:
    store.write("a/model.keras", b"hello")
    assert store.local_path("a/model.keras", HELLO).name == "model.keras"


def test_local_path_refuses_content_that_was_changed(store: Store) -> None:
    store.write("a/x.bin", b"jello")
    with pytest.raises(PermanentError, match=r"a/x\.bin in the store does not match its digest") as error:
        store.local_path("a/x.bin", HELLO)
    found = hashlib.sha256(b"jello").hexdigest()
    assert f"expected sha256 {HELLO}, received {found}; " in message(error)


def test_url_opens_without_keys(store: Store) -> None:
    store.write("a/ä b.txt", b"hello")
    with urllib.request.urlopen(store.url("a/ä b.txt")) as page:
        assert page.read() == b"hello"


def test_s3_links_are_signed_by_the_present_rules(s3_environment: object, tmp_path: Path) -> None:
    assert "X-Amz-Signature=" in open_store("s3://bucket/prefix", tmp_path).url("x")


def test_a_bucket_is_a_store_without_a_prefix(s3_environment, tmp_path: Path) -> None:
    store = open_store(f"s3://{s3_environment.bucket}/", tmp_path)
    store.write("bare/x", b"hello")
    assert store.list("bare") == ["bare/x"]
    assert store.read("bare/x") == b"hello"


def test_a_file_from_s3_is_kept_here_and_fetched_again_when_damaged(s3_environment, tmp_path: Path) -> None:
    store = open_store(f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}", tmp_path / "cache")
    store.write("a/x.bin", b"hello")
    kept = store.local_path("a/x.bin", HELLO)
    kept.write_bytes(b"hellx")
    assert store.local_path("a/x.bin", HELLO).read_bytes() == b"hello"
    store.delete("a/x.bin")
    assert store.local_path("a/x.bin", HELLO).read_bytes() == b"hello"
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file()] == [kept]


def test_a_cache_that_cannot_be_written_is_named(s3_environment, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    store = open_store(f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}", tmp_path / "cache")
    store.write("x", b"hello")
    with pytest.raises(PermanentError, match="CACHE_DIR must be a folder that can be written; received") as error:
        store.local_path("x", HELLO)
    assert str(tmp_path / "cache") in message(error)


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
    line = f"the store must be a folder that can be written; received {tmp_path / 'store'}: File too large; "
    assert [text.startswith(line) for text in done.stdout.splitlines()] == [True, True]
    assert [p for p in (tmp_path / "store").rglob("*") if p.is_file()] == []


def test_a_half_written_file_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".partial-killed").write_bytes(b"half")
    assert LocalStore(tmp_path).list("a") == []


def cut_a_write(store: Store, path: str) -> None:
    """Leave what a kill in the middle of a write to `path` leaves."""
    if isinstance(store, LocalStore):
        file = store.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_name(f".partial-{uuid.uuid4().hex}").write_bytes(b"half")
        return
    assert isinstance(store, S3Store)
    at = {"Bucket": store.bucket, "Key": f"{store.prefix}/{path}"}
    upload = store._s3.create_multipart_upload(**at)["UploadId"]
    store._s3.upload_part(**at, UploadId=upload, PartNumber=1, Body=b"half")


def test_a_incomplete_upload_is_found_by_its_age_and_discarded_alone(store: Store, tmp_path: Path) -> None:
    store.write("a/whole", b"hello")
    assert store.incomplete_uploads(older_than_s=0) == []
    for path in ("a/b/ä?x", "a/b/ä?x", "b/y"):
        cut_a_write(store, path)
    assert store.list("a") == ["a/whole"]
    assert store.incomplete_uploads(older_than_s=60) == []
    first, *others = store.incomplete_uploads(older_than_s=0)
    assert [first.startswith("a/b/"), len(others)] == [True, 2]
    store.discard(first)
    assert store.incomplete_uploads(older_than_s=0) == others
    store.discard(first)
    for each in others:
        store.discard(each)
    assert store.incomplete_uploads(older_than_s=0) == []
    assert store.read("a/whole") == b"hello"


def test_a_local_incomplete_upload_is_as_old_as_its_last_byte(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for age_s in (50, 70):
        (tmp_path / f".partial-{age_s}").write_bytes(b"half")
        os.utime(tmp_path / f".partial-{age_s}", (time.time() - age_s,) * 2)
    assert store.incomplete_uploads(older_than_s=60) == [".partial-70"]


def test_a_write_killed_before_its_end_is_a_incomplete_upload(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from lib.store import LocalStore
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
LocalStore(Path(sys.argv[1])).write("a/x", b"half")
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=Path(__file__).parents[3], check=False)
    store = LocalStore(tmp_path)
    assert store.list("a") == []
    (cut,) = store.incomplete_uploads(older_than_s=0)
    store.discard(cut)
    assert list((tmp_path / "a").iterdir()) == []


def test_incomplete_uploads_are_those_of_this_prefix(s3_environment, tmp_path: Path) -> None:
    prefix = uuid.uuid4().hex
    one, two = (open_store(f"s3://{s3_environment.bucket}/{p}", tmp_path) for p in (prefix, f"{prefix}2"))
    cut_a_write(two, "x")
    assert one.incomplete_uploads(older_than_s=0) == []
    (cut,) = two.incomplete_uploads(older_than_s=0)
    assert f"{prefix}2/{cut}" in open_store(f"s3://{s3_environment.bucket}", tmp_path).incomplete_uploads(
        older_than_s=0
    )
    two.discard(cut)


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


@pytest.mark.parametrize("uri", ["ftp://host/x", "s3:///prefix"])
def test_other_addresses_are_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="s3://bucket/prefix; received") as error:
        open_store(uri, tmp_path)
    assert repr(uri) in message(error)


def uses(store: Store) -> list[Callable[[], object]]:
    return [
        lambda: store.read("x"),
        lambda: store.write("x", b""),
        lambda: store.write("x", Path(__file__)),
        lambda: store.create("x", b""),
        lambda: store.exists("x"),
        lambda: store.list("x"),
    ]


def test_wrong_keys_are_refused_for_good(s3_environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    store = open_store(f"s3://{s3_environment.bucket}/p", tmp_path)
    for use in uses(store):
        with pytest.raises(PermanentError, match=r"S3 refused s3://test-bucket/p/x: SignatureDoesNotMatch") as error:
            use()
        assert "check the keys in AWS_ACCESS_KEY_ID" in message(error)
    with pytest.raises(PermanentError, match="S3 refused s3://test-bucket/p/x"):
        store.local_path("x", HELLO)


def test_missing_keys_are_asked_for(s3_environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = open_store(f"s3://{s3_environment.bucket}/p", tmp_path)
    for use in (*uses(store), lambda: store.url("x")):
        with pytest.raises(PermanentError, match="s3://test-bucket/p/x needs S3 credentials") as error:
            use()
        assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in message(error)


def test_a_bucket_that_is_missing_is_named(s3_environment, tmp_path: Path) -> None:
    store = open_store("s3://no-such-bucket/p", tmp_path)
    for use in uses(store):
        with pytest.raises(PermanentError, match="the bucket of s3://no-such-bucket/p/x does not exist") as error:
            use()
        assert not isinstance(error.value, NotFound)
        assert "set STORE_URI or --store" in message(error)


def test_a_bucket_name_that_cannot_be_is_refused(s3_environment, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="s3://no such bucket/p/x is not an address in S3") as error:
        open_store("s3://no such bucket/p", tmp_path).read("x")
    assert "set STORE_URI or --store" in message(error)


def test_a_server_that_does_not_answer_may_answer_later(
    s3_environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")

    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for use in uses(open_store("s3://bucket/p", tmp_path)):
        with pytest.raises(TransientError, match="s3://bucket/p/x") as error:
            use()
        assert "check AWS_ENDPOINT_URL_S3 and the network" in message(error)


def test_an_endpoint_that_is_no_address_is_refused(
    s3_environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "localhost:8333")
    with pytest.raises(PermanentError, match="check AWS_ENDPOINT_URL_S3") as error:
        open_store("s3://bucket/p", tmp_path).read("x")
    assert "localhost:8333" in message(error)
