"""Downloads over HTTP: a whole answer, or one line on what is wrong with it."""

import hashlib
import logging
import re
import socket
import time
import traceback
from contextlib import nullcontext
from pathlib import Path

import pytest
import requests

from lib.data.fetch import fetch
from lib.data.http import _check_redirect
from lib.errors import PermanentError, PipelineError, TransientError
from tests.web_server import endless_server

from .publisher import BODY, PACKED, answer, quiet, redirect, refusal, upstream

MARKER = "nobody-may-see-this"


@pytest.mark.parametrize(
    ("case", "kind", "rule"),
    [
        ("no-content", PermanentError, "cannot be had: HTTP 204"),
        ("part", PermanentError, "cannot be had: HTTP 206"),
        ("not-modified", PermanentError, "cannot be had: HTTP 304"),
        ("created", PermanentError, "cannot be had: HTTP 201"),
        ("no-number", PermanentError, "must say its length in bytes; its Content-Length is no number"),
        ("negative", PermanentError, "must say its length in bytes; its Content-Length is no number"),
        ("two-lengths", PermanentError, "answers with headers that contradict each other"),
        ("chunks-cut", TransientError, "cannot be reached: "),
        ("chunk-cut", TransientError, "cannot be reached: "),
        ("packed-cut", TransientError, "was cut: its gzip stream has no end"),
        ("to-bad-ipv6", PermanentError, "redirects to what is no address"),
        ("to-bad-port", PermanentError, "redirects to what is no address"),
        ("to-a-file", PermanentError, "redirects to what is no address"),
        ("to-ftp", PermanentError, "redirects to what is no address"),
        ("to-a-backslash", PermanentError, "redirects to what is no address"),
        ("to-metadata", PermanentError, "redirects to an address inside this machine or its cloud"),
        ("to-metadata-in-decimal", PermanentError, "redirects to an address inside this machine or its cloud"),
        ("to-metadata-in-ipv6", PermanentError, "redirects to an address inside this machine or its cloud"),
        ("to-metadata-of-ipv6", PermanentError, "redirects to an address inside this machine or its cloud"),
        ("to-link-local", PermanentError, "redirects to an address inside this machine or its cloud"),
        ("to-itself", PermanentError, "cannot be had: it redirects without end"),
        ("no-http", TransientError, "cannot be reached: it does not answer as HTTP; check the network"),
        ("no-status", TransientError, "cannot be reached: it does not answer as HTTP; check the network"),
        ("no-version", TransientError, "cannot be reached: it does not answer as HTTP; check the network"),
        ("no-chunk", TransientError, "cannot be reached: "),
        ("a-long-line", TransientError, "cannot be reached: it does not answer as HTTP; check the network"),
    ],
)
def test_an_answer_that_is_no_whole_file_is_refused(
    host: str, tmp_path: Path, case: str, kind: type[PipelineError], rule: str
) -> None:
    said = refusal(kind, upstream(f"{host}/{case}/a.gz"), None, tmp_path)
    assert said.startswith(f"{host}/{case}/a.gz {rule}")
    assert MARKER not in said
    assert len(said) < 700


@pytest.mark.parametrize(
    ("case", "content"),
    [("chunked", b"hello"), ("packed", PACKED), ("labelled", PACKED), ("to-plain", BODY)],
)
def test_an_answer_that_is_whole_is_kept_byte_for_byte(host: str, tmp_path: Path, case: str, content: bytes) -> None:
    assert fetch(upstream(f"{host}/{case}/a.gz"), None, tmp_path, quiet).read_bytes() == content


def test_a_file_of_which_neither_length_nor_digest_is_known_is_told_of(
    host: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fetch(upstream(f"{host}/plain/a.bin"), None, tmp_path, quiet)
    fetch(upstream(f"{host}/endless/a.bin", md5=hashlib.md5(BODY).hexdigest()), None, tmp_path, quiet)
    assert caplog.records == []
    fetch(upstream(f"{host}/endless/a.bin"), f"{host}/endless?token=secret", tmp_path, quiet)
    (told,) = caplog.messages
    assert told.startswith(f"{host}/endless/a.bin: the server did not say how long it is, and no digest is known")
    assert caplog.records[0].levelno == logging.WARNING


def test_looking_for_the_end_of_a_gzip_file_ends_at_its_bounds(host: str, tmp_path: Path) -> None:
    started = time.process_time()
    fetch(upstream(f"{host}/packed-in-members/a.gz"), None, tmp_path, quiet)
    assert time.process_time() - started < 0.5


def test_another_digest_of_a_file_of_unknown_length_may_be_a_cut(host: str, tmp_path: Path) -> None:
    said = refusal(TransientError, upstream(f"{host}/endless/a.bin", md5="0" * 32), None, tmp_path)
    assert said.endswith("; the server did not say how long it is, so it may have been cut")


def test_a_transfer_that_hardly_moves_is_given_up(host: str, tmp_path: Path) -> None:
    times = iter(range(0, 100_000, 1000))  # each block comes 1,000 s after the one before
    with pytest.raises(TransientError, match=r"/plain/a\.bin must send 1,000 bytes a second; received ") as error:
        fetch(upstream(f"{host}/plain/a.bin"), None, tmp_path, quiet, clock=lambda: float(next(times)))
    assert "\n" not in str(error.value)


def test_a_server_that_does_not_speak_tls_is_named(host: str, tmp_path: Path) -> None:
    url = f"{host.replace('http:', 'https:')}/plain/a.bin"
    said = refusal(PermanentError, upstream(url), None, tmp_path)
    assert said == f"{url}: its server does not speak TLS; the address must begin with http://"


def test_a_proxy_that_wants_a_password_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with endless_server(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", b"") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        said = refusal(PermanentError, upstream(url := "https://data.example/a.bin"), None, tmp_path)
    assert said == (
        f"{url} cannot be reached: the proxy in HTTPS_PROXY or HTTP_PROXY wants a user and a password (407)"
    )


def test_an_answer_whose_first_line_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.data.http.ANSWERS_WITHIN_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections, and no more
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.bin"
        said = refusal(TransientError, upstream(url), None, tmp_path)
    assert said == f"{url} did not answer within 0.1 s; check the network, or set MIRROR_URL"


CHUNKS = answer("Transfer-Encoding: chunked")
ENDLESS: dict[str, tuple[bytes, bytes, float]] = {
    "a first line": (b"HTTP/1.1 200 ", b"x", 0.005),
    "headers": (b"HTTP/1.1 200 OK\r\nX-A: ", b"x", 0.005),
    "slow promises to go on": (b"", answer(status="100 Continue"), 0.005),
    "promises to go on": (b"", answer(status="100 Continue"), 0),
    "a body": (answer(), b"x", 0.005),
    "a body of known length": (answer("Content-Length: 1000000"), b"x", 0.005),
    "chunks": (CHUNKS, b"1\r\nx\r\n", 0.005),
    "a chunk's size": (CHUNKS + b"5\r\nhello\r\n", b"0", 0.005),
    "a chunk's extension": (CHUNKS + b"5\r\nhello\r\n5;", b"x", 0.005),
    "a trailer": (CHUNKS + b"5\r\nhello\r\n0\r\nX-A: ", b"x", 0.005),
    "slow trailers": (CHUNKS + b"5\r\nhello\r\n0\r\n", b"X-A: b\r\n", 0.005),
    "trailers": (CHUNKS + b"5\r\nhello\r\n0\r\n", b"X-A: b\r\n", 0),
}
"""How an answer begins, what comes then again and again, and how many seconds apart."""


@pytest.mark.parametrize("name", ENDLESS)
def test_an_answer_that_never_ends_is_given_up(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.time_limits.WINDOW_S", 0.2)
    monkeypatch.setattr("lib.time_limits.FLOOR_BYTES_PER_S", 100_000)
    with endless_server(*ENDLESS[name]) as at:
        started = time.monotonic()
        said = refusal(TransientError, upstream(f"{at}/a.bin"), None, tmp_path)
        assert time.monotonic() - started < 2
    why = "must send 100,000 bytes a second; received .* in 0 s|does not come to an end of its answer"
    assert re.fullmatch(rf"{at}/a.bin ({why}); check the network, or set MIRROR_URL", said)


def test_the_content_of_a_redirect_is_not_read(host: str, tmp_path: Path) -> None:
    begins = redirect(f"{host}/plain/a.bin").replace(b"Content-Length: 0\r\n", b"")
    with endless_server(begins, bytes(1 << 16), 0) as at:
        assert fetch(upstream(f"{at}/a.bin"), None, tmp_path, quiet).read_bytes() == BODY


@pytest.mark.parametrize(
    ("origin", "target", "refused"),
    [
        ("https://host/a", "http://host/a", True),
        ("https://host/a", "https://other/a", False),
        ("http://host/a", "https://host/a", False),
        ("http://host/a", "http://127.0.0.1/a", True),
        ("http://host/a", "http://0.0.0.0/a", True),
        ("http://127.0.0.1/a", "http://localhost/a", False),
        ("http://host/a", "http://10.0.0.1/a", False),
    ],
)
def test_a_redirect_leads_neither_to_plain_http_nor_inside_this_machine(
    origin: str, target: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo
    names = {"host": "192.0.2.1", "other": "192.0.2.2"}
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda name, *more, **options: resolve(names.get(name, name), *more, **options)
    )
    response = requests.Response()
    response.status_code, response.url, response.headers["Location"] = 302, origin, target
    with pytest.raises(PermanentError) if refused else nullcontext():
        _check_redirect(response)


def test_a_password_and_a_token_of_a_mirror_are_used_and_not_shown(host: str, tmp_path: Path) -> None:
    private = host.replace("//", "//user:p%40ss@") + "/private?token=secret"
    assert fetch(upstream("https://host/a.bin"), private, tmp_path, quiet).read_bytes() == b"hello"
    said = refusal(PermanentError, upstream("https://host/b.bin"), private, tmp_path)
    remedy = "set MIRROR_URL to a place that has it, with its user and password in the address if it asks for them"
    assert said == f"{host}/private/b.bin cannot be had: HTTP 401; {remedy}"


def test_a_password_of_a_mirror_that_cannot_be_reached_is_in_no_error_or_its_causes(tmp_path: Path) -> None:
    with pytest.raises(TransientError) as error:
        fetch(upstream("https://host/a.bin"), f"http://user:{MARKER}@127.0.0.1:1/x?token={MARKER}", tmp_path, quiet)
    assert MARKER not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("content", [None, b"no certificate"], ids=["missing", "garbage"])
def test_certificates_that_are_not_there_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_bytes(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    said = refusal(PermanentError, upstream("https://127.0.0.1:1/a.bin"), None, tmp_path)
    assert said.startswith(f"REQUESTS_CA_BUNDLE must name a file of CA certificates; received {bundle}: ")
