"""What S3 alone does, and what is said where it cannot be reached."""

import os
import time
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from lib.errors import NotFound, PermanentError, TransientError
from lib.lineage.manifests import find
from lib.store import Store, open_store
from lib.store.probe import broken_promise, require_answer, require_promises
from lib.store.s3_client import s3_client
from tests.web_server import endless_server, web_server

from .made import HELLO, cut_a_write, message


def test_s3_links_are_signed_by_the_present_rules_and_last_a_day(s3_environment: object, tmp_path: Path) -> None:
    link = parse_qs(urlsplit(open_store("s3://bucket/prefix", tmp_path).url("x")).query)
    assert link["X-Amz-Signature"]
    assert link["X-Amz-Expires"] == ["86400"], "a day"


def test_a_bucket_is_a_store_without_a_prefix(s3_environment, tmp_path: Path) -> None:
    store = open_store(f"s3://{s3_environment.bucket}/", tmp_path)
    store.write("bare/x", b"hello")
    assert store.list("bare") == ["bare/x"]
    assert store.read("bare/x") == b"hello"


def test_a_file_from_s3_is_kept_here_and_fetched_again_when_damaged(s3_environment, tmp_path: Path) -> None:
    store = open_store(f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}", tmp_path / "cache")
    store.write("a/x.bin", b"hello")
    kept = store.local_path("a/x.bin", HELLO, 5)
    kept.write_bytes(b"hellx")
    assert store.local_path("a/x.bin", HELLO, 5).read_bytes() == b"hello"
    store.delete("a/x.bin")
    assert store.local_path("a/x.bin", HELLO, 5).read_bytes() == b"hello"
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.name != ".lock"] == [kept]


def test_a_prefix_that_leaves_no_room_for_a_key_is_named(s3_environment, tmp_path: Path) -> None:
    store = open_store(f"s3://{s3_environment.bucket}/{'/'.join(['a' * 200] * 5)}", tmp_path)
    with pytest.raises(PermanentError, match=r"^a key in S3 must have at most 1,024 bytes; .*set STORE_URI or --store"):
        store.write("datasets/digits/manifest", b"hello")


def test_a_cache_that_cannot_be_written_is_named(s3_environment, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    store = open_store(f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}", tmp_path / "cache")
    store.write("x", b"hello")
    with pytest.raises(PermanentError, match="CACHE_DIR must be a folder that can be written; received") as error:
        store.local_path("x", HELLO, 5)
    assert str(tmp_path / "cache") in message(error)


def test_incomplete_uploads_are_those_of_this_prefix(s3_environment, tmp_path: Path) -> None:
    prefix = uuid.uuid4().hex
    one, two = (open_store(f"s3://{s3_environment.bucket}/{p}", tmp_path) for p in (prefix, f"{prefix}2"))
    cut_a_write(two, "models/x")
    assert one.incomplete_uploads("models", older_than_s=0) == []
    (cut,) = two.incomplete_uploads("models", older_than_s=0)
    whole = open_store(f"s3://{s3_environment.bucket}", tmp_path)
    assert whole.incomplete_uploads(f"{prefix}2", older_than_s=0) == [f"{prefix}2/{cut}"]
    two.discard(cut)


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
        store.local_path("x", HELLO, 5)


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
        with pytest.raises(PermanentError, match="s3://no-such-bucket/p/x: the bucket does not exist") as error:
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


def test_one_client_serves_a_process_until_what_it_is_made_of_changes(
    s3_environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = s3_client()
    assert s3_client() is first
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    assert s3_client().meta.endpoint_url == "http://127.0.0.1:1"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_environment.endpoint)
    assert s3_client() is first
    config = tmp_path / "config"
    config.write_text("[default]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.delenv("AWS_REGION")
    assert s3_client().meta.region_name == "eu-west-1"
    config.write_text("[default]\nregion = eu-west-2\n")
    os.utime(config, (1, 1))
    assert s3_client().meta.region_name == "eu-west-2"


def test_a_forked_process_has_a_client_of_its_own(s3_environment) -> None:
    ours = s3_client()
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.write(writing, b"same" if s3_client() is ours else b"another")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"another"


def test_empty_variables_count_as_not_set(s3_environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "AWS_MAX_ATTEMPTS",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_CA_BUNDLE",
        "AWS_SESSION_TOKEN",
    ):
        monkeypatch.setenv(name, "")
    assert open_store(f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}", tmp_path).list("x") == []
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "")
    assert s3_client().meta.endpoint_url == "https://s3.amazonaws.com"


def test_a_password_in_the_endpoint_is_in_no_link_and_no_error(
    s3_environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_environment.endpoint.replace("//", "//user:hidden@") + "?token=hidden")
    store = open_store(f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}", tmp_path)
    store.write("x", b"hello")
    with urllib.request.urlopen(store.url("x")) as page:
        assert page.read() == b"hello"
    assert "hidden" not in store.url("x")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://user:hidden@127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(TransientError) as error:
        open_store("s3://bucket/p", tmp_path).read("x")
    assert "hidden" not in message(error)


LISTING = b"<ListBucketResult><Name>bucket</Name><Contents>%s</Contents></ListBucketResult>"
NAMELESS = LISTING % b"<Size>1</Size>"
DATED = LISTING % b"<Key>x/a</Key><LastModified>%s</LastModified>"


@pytest.fixture
def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Store]:
    """The store at the endpoint of a web server."""

    def at(url: str) -> Store:
        for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "ENDPOINT_URL_S3": url}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        return open_store("s3://bucket", tmp_path)

    return at


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (301, b"", "the endpoint redirects (HTTP 301); check AWS_ENDPOINT_URL_S3"),
        (200, b"<html></html>", "the server's answer is not as S3 says it: ValueError: it is no listing; check AWS_"),
        (200, NAMELESS, "the server's answer is not as S3 says it: KeyError: 'Key'; check AWS_ENDPOINT_URL_S3"),
    ],
)
def test_a_listing_that_is_none_is_refused_and_no_empty_store(
    status: int, body: bytes, says: str, answering: Callable[[str], Store]
) -> None:
    with web_server(status, body=body) as url:
        store = answering(url)
        for use in (lambda: store.list("x"), lambda: store.exists("x"), lambda: store.ages("x")):
            with pytest.raises(PermanentError) as error:
                use()
            assert message(error).startswith(f"s3://bucket/x: {says}")


PAGE = b"<!DOCTYPE html>\n<html><head><title>404</title></head><body><p>Not found<br></body></html>"


@pytest.mark.parametrize("status", [400, 404, 405, 410])
@pytest.mark.parametrize("body", [PAGE, b"<html><body/></html>", b""], ids=["HTML", "XHTML", "nothing"])
def test_an_error_without_a_code_of_s3_is_no_answer_of_s3_and_no_empty_store(
    status: int, body: bytes, answering: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.store.s3_client.CODE_AGAIN_S", 0.001)
    with web_server(status, body=body) as url:
        store = answering(url)
        for use in (*uses(store), lambda: store.read_version("x"), lambda: store.delete("x"), lambda: store.ages("x")):
            with pytest.raises(PermanentError) as error:
                use()
            assert not isinstance(error.value, NotFound)
            assert message(error) == (
                f"s3://bucket/x: the server's answer is not as S3 says it: HTTP {status} without a code such as "
                "NoSuchKey; check AWS_ENDPOINT_URL_S3"
            )
        with pytest.raises(PermanentError, match="the server's answer is not as S3 says it"):
            store.replace("x", b"", "version")
        with pytest.raises(PermanentError, match="the server's answer is not as S3 says it"):
            store.local_path("x", HELLO, 5)
        with pytest.raises(PermanentError, match="the server's answer is not as S3 says it"):
            find(store, "models/toy/x")


def test_a_server_that_drips_headers_is_given_up_before_a_run_begins(
    answering: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the calls, and each try of each of them, would have as long."""
    monkeypatch.setattr("lib.store.probe.ANSWERS_WITHIN_S", 0.5)
    with endless_server(b"HTTP/1.1 200 OK\r\nX-A: ", b"x") as url:
        store = answering(url)
        for check in (require_answer, require_promises, broken_promise):
            started = time.monotonic()
            with pytest.raises(TransientError) as error:
                check(store)
            assert time.monotonic() - started < 3
            assert message(error) == (
                "s3://bucket did not answer within 0.5 s; check AWS_ENDPOINT_URL_S3 and the network"
            )


@pytest.mark.parametrize(
    ("date", "written"),
    [
        ("soon", b"2026-01-01T00:00:00Z"),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", b"2026-01-01T00:00:00Z"),
        ("Thu, 01 Jan 2026 00:00:00 -0000", b"2026-01-01T00:00:00Z"),
        ("Thu, 01 Jan 2026 00:00:00 GMT", b"soon"),
    ],
)
def test_a_date_that_is_none_is_no_answer_of_s3(date: str, written: bytes, answering: Callable[[str], Store]) -> None:
    with web_server(body=DATED % written, date=date) as url:
        with pytest.raises(PermanentError, match=r"^s3://bucket/x: the server's answer is not as S3 says it") as error:
            answering(url).ages("x")
    assert "\n" not in str(error.value)
