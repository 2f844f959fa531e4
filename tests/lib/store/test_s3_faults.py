"""Each call of the S3 store, while the network and the server misbehave: it succeeds in the end, and just once."""

import hashlib
import random
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import botocore.exceptions
import pytest

from lib.errors import PermanentError, PipelineError, TransientError
from lib.store import Store, open_store
from lib.store.probe import require_answer
from lib.store.s3_client import s3_client, s3_errors
from tests.faults.proxy import Fault, Kind, Proxy, proxy_before
from tests.web_server import endless_server, web_server

HELLO = b"hello" * 1000
SHA256 = hashlib.sha256(HELLO).hexdigest()
CALLS: dict[str, tuple[str, Callable[[Store], object], object]] = {
    "read": ("GET", lambda store: store.read("in/there"), HELLO),
    "write": ("PUT", lambda store: (store.write("new", HELLO), store.read("new"))[1], HELLO),
    "create": ("PUT", lambda store: store.create("new", HELLO), True),
    "create again": ("PUT", lambda store: store.create("in/there", b"other"), False),
    "replace": ("PUT", lambda store: store.replace("in/there", b"next", store.read_version("in/there")[1]), True),
    "delete": ("DELETE", lambda store: (store.delete("in/there"), store.list("in"))[1], []),
    "exists": ("GET", lambda store: store.exists("in/there"), True),
    "list": ("GET", lambda store: store.list("in"), ["in/there"]),
    "local_path": ("GET", lambda store: store.local_path("in/there", SHA256, len(HELLO)).read_bytes(), HELLO),
}
QUICK = {("503", "list"), ("request reset", "write"), ("answer cut", "read"), ("answer lost", "create")}
FAULTS: tuple[Kind, ...] = ("500", "503", "request reset", "answer cut", "answer lost")


@pytest.fixture(scope="module")
def proxy(s3_server: "object") -> Iterator[Proxy]:
    with proxy_before(s3_server.endpoint) as running:  # type: ignore[attr-defined]
        yield running


@pytest.fixture
def store(s3_environment: "object", proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    proxy.faults = []
    store = open_store(f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}", tmp_path)  # type: ignore[attr-defined]
    store.write("in/there", HELLO)
    return store


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        pytest.param(kind, call, marks=() if (kind, call) in QUICK else pytest.mark.slow)
        for kind in FAULTS
        for call in CALLS
    ],
)
def test_a_call_that_fails_once_is_tried_again_and_has_its_effect_once(
    kind: Kind, call: str, store: Store, proxy: Proxy
) -> None:
    method, use, expected = CALLS[call]
    proxy.faults = [fault := Fault(kind, method)]
    assert use(store) == expected
    assert fault.done == 1


def test_a_server_that_stays_busy_is_given_up_as_transient(
    s3_environment: "object", proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    proxy.faults = [fault := Fault("503", times=99)]
    with pytest.raises(TransientError, match=r"s3://test-bucket/busy/x is not answering now: SlowDown \(503\)"):
        open_store("s3://test-bucket/busy", tmp_path).write("x", HELLO)
    assert fault.done == 2


@pytest.mark.parametrize(
    ("use", "header"),
    [
        (lambda store: store.create("new", HELLO), "If-None-Match"),
        (lambda store: store.replace("in/there", HELLO, store.read_version("in/there")[1]), "If-Match"),
    ],
    ids=["create", "replace"],
)
def test_a_server_without_conditional_writes_is_refused_for_good(
    use: Callable[[Store], object], header: str, store: Store, proxy: Proxy
) -> None:
    proxy.faults = [fault := Fault("501", "PUT", times=99)]
    with pytest.raises(PermanentError, match=rf"must honour {header} on writes; it answered NotImplemented \(501\)"):
        use(store)
    assert fault.done == 1


def test_a_conflict_is_no_answer_and_asked_again(store: Store, proxy: Proxy) -> None:
    proxy.faults = [fault := Fault("409", "PUT", times=2)]
    assert store.create("new", HELLO) is True
    assert fault.done == 2
    assert store.read("new") == HELLO
    proxy.faults = [Fault("409", "PUT")]
    assert store.create("in/there", b"other") is False
    assert store.read("in/there") == HELLO
    proxy.faults = [Fault("409", "PUT")]
    assert store.replace("in/there", b"next", store.read_version("in/there")[1]) is True


def test_conflicts_without_end_are_given_up_as_transient(
    store: Store, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    proxy.faults = [fault := Fault("409", "PUT", times=99)]
    with pytest.raises(TransientError, match="/new: other writes to it are under way, 8 times in a row; run again"):
        store.create("new", HELLO)
    assert fault.done == 8


def test_what_was_written_and_removed_before_the_answer_came_reads_as_not_written(store: Store, proxy: Proxy) -> None:
    """A create whose answer was lost is tried again, meets itself, and is removed by another before it is looked at."""
    proxy.faults = [
        Fault("answer lost", "PUT"),
        Fault("call", "GET", "/new", call=lambda: store.delete("new")),
    ]
    assert store.create("new", HELLO) is False
    assert not store.exists("new")


BEGINS = b"HTTP/1.1 200 OK\r\nETag: x\r\n"
ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "headers": (b"HTTP/1.1 200 OK\r\nX-A: ", b"x"),
    "promises to go on": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a body": (BEGINS + b"Content-Length: 1000000\r\n\r\n", b" "),
    "a chunk's size": (BEGINS + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "an error": (b"HTTP/1.1 403 No\r\n\r\n<Error>", b" "),
}


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        *(("read", answer) for answer in ENDLESS),
        ("write a file", "headers"),
        ("create", "promises to go on"),
        ("list", "a body"),
        ("local_path", "a body"),
    ],
)
def test_an_answer_that_never_ends_is_given_up_as_transient(
    call: str, answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.time_limits.WINDOW_S", 0.2)
    monkeypatch.setattr("lib.time_limits.FLOOR_BYTES_PER_S", 100_000)
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    (tmp_path / "file").write_bytes(HELLO)
    use = CALLS[call][1] if call in CALLS else lambda store: store.write("new", tmp_path / "file")
    with endless_server(*ENDLESS[answer]) as at:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", at)
        started = time.monotonic()
        with pytest.raises(TransientError, match=r"^s3://bucket/x") as error:
            use(open_store("s3://bucket/x", tmp_path / "cache"))
        assert time.monotonic() - started < 10, "by default it would wait for minutes"
    assert "\n" not in str(error.value)


ANSWERS: dict[tuple[int, str], tuple[type[PipelineError], str]] = {
    (503, "SlowDown"): (TransientError, "s3://b/x is not answering now: SlowDown (503)"),
    (507, "XMinioStorageFull"): (PermanentError, "S3 is full (XMinioStorageFull); free space there, or raise its quo"),
    (403, "QuotaExceeded"): (PermanentError, "S3 is full (QuotaExceeded); free space there"),
    (400, "AuthorizationHeaderMalformed"): (PermanentError, "AWS_REGION must name the region of its bucket, eu-west-7"),
    (301, "PermanentRedirect"): (PermanentError, "AWS_REGION must name the region of its bucket, eu-west-7 (Permanent"),
    (403, "AccessDenied"): (PermanentError, "S3 refused s3://b/x: AccessDenied (403); check the keys in AWS_ACCESS_K"),
    (403, "SignatureDoesNotMatch"): (PermanentError, "; check the keys in AWS_ACCESS_KEY_ID"),
    (403, "InvalidObjectState"): (PermanentError, ": InvalidObjectState (403); look up what its server means by tha"),
    (405, "MethodNotAllowed"): (PermanentError, ": MethodNotAllowed (405); look up what its server means by that"),
}


def test_a_server_that_names_its_region_in_each_error_is_not_said_to_be_in_another() -> None:
    answer = {"Error": {"Code": "AccessDenied", "Region": "eu-west-7"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    with pytest.raises(PermanentError, match=r"AccessDenied \(403\); check the keys"), s3_errors("s3://b/x"):
        raise botocore.exceptions.ClientError(answer, "PutObject")


@pytest.mark.parametrize(("status", "code"), ANSWERS)
def test_an_answer_of_s3_is_told_by_its_code(status: int, code: str) -> None:
    kind, said = ANSWERS[status, code]
    region = {"Region": "eu-west-7"} if "eu-west-7" in said else {}
    answer = {"Error": {"Code": code, **region}, "ResponseMetadata": {"HTTPStatusCode": status}}
    with pytest.raises(kind) as error, s3_errors("s3://b/x"):
        raise botocore.exceptions.ClientError(answer, "PutObject")
    assert type(error.value) is kind
    assert said in str(error.value)


def test_a_server_that_is_busy_is_said_to_be_before_time_is_up(
    s3_environment: "object", monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    waited: list[float] = []
    monkeypatch.delenv("AWS_MAX_ATTEMPTS", raising=False)
    monkeypatch.setattr("botocore.endpoint.time.sleep", waited.append)
    with web_server(503) as busy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", busy)
        with pytest.raises(TransientError, match=r"is not answering now: .* \(503\)"):
            require_answer(open_store("s3://bucket/x", tmp_path))
    assert len(waited) == 4


def test_a_server_that_is_gone_is_asked_again_for_about_half_a_minute(
    s3_environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.delenv("AWS_MAX_ATTEMPTS", raising=False)
    client, waited = s3_client(), list[float]()
    monkeypatch.setattr("botocore.endpoint.time.sleep", waited.append)
    random.seed(0)
    with pytest.raises(botocore.exceptions.EndpointConnectionError):
        client.get_object(Bucket="b", Key="k")
    assert 15 < sum(waited) < 45, "0.05, 0.1, … 12.8 and 20 s at most, 45 in all, and half of that on average"
