"""What a command says of a Prefect server that does not serve it: the rule, the exit code, and all within seconds."""

import errno
import http.server
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_EPHEMERAL_ENABLED,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)

from lib.errors import NoThread, PermanentError, TransientError
from tasks import server
from tasks.server import explain, require_server
from tasks.temporary_server import TemporaryServer, _one_at_a_time, check_loopback, why_not_started
from tests.web_server import endless_server

CLOSED = "127.0.0.1:9"  # the discard port: nothing listens there
PERMANENT, TRANSIENT = PermanentError, TransientError


@contextmanager
def answering(status: int, body: str = "", **headers: str) -> Iterator[str]:
    """A server that answers everything so; its host and port."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{served.server_port}"
        served.shutdown()


@contextmanager
def silent() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as served:
        yield f"127.0.0.1:{served.getsockname()[1]}"


@contextmanager
def endless(begins: bytes, goes_on: bytes) -> Iterator[str]:
    """A server whose answer never ends."""
    with endless_server(begins, goes_on) as at:
        yield at.removeprefix("http://")


TOO_SLOW = "did not answer within 0.8 s; look at its log"
HTML = "<!doctype html><title>Prefect</title>"
SERVERS = {
    "wrong password": (answering(401), "http://{at}/api", PERMANENT, "refuses us; set PREFECT_API_AUTH_STRING"),
    "forbidden": (answering(403), "http://{at}/api", PERMANENT, "refuses us; check PREFECT_API_AUTH_STRING"),
    "without /api": (answering(200, HTML), "http://{at}", PERMANENT, "its address ends in /api"),
    "without /api or UI": (answering(404), "http://{at}", PERMANENT, "its address ends in /api (HTTP 404)"),
    "no method": (answering(405), "http://{at}", PERMANENT, "its address ends in /api (HTTP 405)"),
    "any web server": (answering(501), "http://{at}", PERMANENT, "its address ends in /api (HTTP 501)"),
    "other JSON": (answering(200, '{"a": 1}'), "http://{at}/api", PERMANENT, "its address ends in /api"),
    "its database is gone": (
        answering(500),
        "http://{at}/api",
        TRANSIENT,
        "its database (HTTP 500",
    ),
    "busy": (answering(429), "http://{at}/api", TRANSIENT, "(HTTP 429)"),
    "busy for a day": (answering(429, Retry_After="99999"), "http://{at}/api", TRANSIENT, "(HTTP 429)"),
    "under maintenance": (answering(503, Prefect_Maintenance="true"), "http://{at}/api", TRANSIENT, "(HTTP 503)"),
    "100,000 lists": (answering(200, "[" * 100_000), "http://{at}/api", PERMANENT, "its address ends in /api"),
    "100,000 lists, closed": (answering(200, "[" * 100_000 + "]" * 100_000), "http://{at}/api", PERMANENT, "in /api"),
    "headers without end": (endless(b"HTTP/1.1 200 OK\r\nX-A: ", b"x"), "http://{at}/api", TRANSIENT, TOO_SLOW),
    "a body without end": (endless(b"HTTP/1.1 200 OK\r\n\r\n[", b" "), "http://{at}/api", TRANSIENT, TOO_SLOW),
    "promises without end": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "http://{at}/api", TRANSIENT, TOO_SLOW),
    "another line": (
        endless(b"HTTP/1.1 secret\r\n\r\n", b"x"),
        "http://{at}/api",
        TRANSIENT,
        "it does not answer as HTTP",
    ),
    "a header that is none": (
        endless(b"HTTP/1.1 200 OK\r\nsecret\r\n\r\n", b"x"),
        "http://{at}/api",
        TRANSIENT,
        "it does not answer as HTTP",
    ),
    "silent": (silent(), "http://{at}/api", TRANSIENT, "cannot be reached: "),
    "password in address": (answering(500), "http://me:secret@{at}/api", TRANSIENT, "the Prefect server http://127.0."),
}
ADDRESSES = {
    "nobody there": (
        f"http://{CLOSED}/api",
        {},
        TRANSIENT,
        "cannot be reached: …; start it (make stack), or run without one",
    ),
    "no scheme": (f"{CLOSED}/api", {}, PERMANENT, "must have an address such as http://127.0.0.1:4200/api"),
    "no port": ("http://127.0.0.1:port/api", {}, PERMANENT, "must have an address such as http://127.0.0.1:4200/api"),
    "loopback through a proxy": (
        "http://127.0.0.1:4200/api",
        {"HTTP_PROXY": f"http://user:secret@{CLOSED}"},
        PERMANENT,
        f"; the proxy {CLOSED} is between: set NO_PROXY=127.0.0.1",
    ),
    "another host through a proxy": (
        "https://prefect.example/api",
        {"ALL_PROXY": f"http://{CLOSED}"},
        TRANSIENT,
        f"; the proxy {CLOSED} is between: set NO_PROXY=prefect.example",
    ),
    "a name of 300 letters": (f"http://{'a' * 300}/api", {}, PERMANENT, "must have an address such as"),
    "a certificate that is not there": (
        "https://127.0.0.1:9/api",
        {"PREFECT_API_SSL_CERT_FILE": "/no/such.pem"},
        PERMANENT,
        "PREFECT_API_SSL_CERT_FILE must name a file of CA certificates; received /no/such.pem: No such file",
    ),
}
TEMPORARY = {
    "a database of a newer Prefect": (
        "alembic.util.exc.CommandError: Can't locate revision identified by 'abcdef123456'",
        PERMANENT,
        "of a newer version of Prefect; upgrade Prefect",
    ),
    "a dead database": (
        "ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', 9)",
        TRANSIENT,
        "its database cannot be reached",
    ),
    "a wrong password": (
        'asyncpg.exceptions.InvalidPasswordError: password authentication failed for user "prefect"',
        PERMANENT,
        "its database refuses us",
    ),
    "no such database": (
        'asyncpg.exceptions.InvalidCatalogNameError: database "prefect" does not exist',
        PERMANENT,
        "its database refuses us",
    ),
    "no tables": ('UndefinedTableError: relation "block_type" does not exist', PERMANENT, "…; migrate it (prefect "),
    "a file that is no database": (
        "sqlalchemy.exc.DatabaseError: (sqlite3.DatabaseError) file is not a database",
        PERMANENT,
        "its database is damaged",
    ),
    "a locked database": (
        "sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) database is locked",
        TRANSIENT,
        "did not start: another program keeps its database locked; end it, and run again (",
    ),
    "a full disk": (
        "sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) database or disk is full",
        PERMANENT,
        "did not start: free space, or set PREFECT_HOME to another place (",
    ),
    "a folder that is not ours": (
        "sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) unable to open database file",
        PERMANENT,
        "its database cannot be written",
    ),
    "no thread": (
        "pyo3_runtime.PanicException: OS can't spawn worker thread: Resource temporarily unavailable (os error 11)",
        NoThread,
        "did not start: raise the limit of this user's processes and threads (ulimit -u",
    ),
    "another fault": ("KeyError: 'x'", TRANSIENT, "run again (KeyError: 'x')"),
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(server, "PATIENCE", 0.3)


def said_of(url: str | None, kind: type[Exception]) -> str:
    began = time.monotonic()
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(kind) as caught:
        require_server()
    assert type(caught.value) is kind
    assert time.monotonic() - began < 30
    said = str(caught.value)
    assert "\n" not in said
    assert "secret" not in said
    return said


def check(said: str, expected: str) -> None:
    assert re.search(".*".join(map(re.escape, expected.split("…"))), said), said


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_does_not_serve_us_is_named_with_what_to_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name.endswith("without end"):
        monkeypatch.setattr(server, "ANSWERS_WITHIN_S", 0.8)
    served, url, kind, expected = SERVERS[name]
    with served as at:
        check(said_of(url.format(at=at), kind), expected)


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_server_that_cannot_be_reached_is_named_with_what_to_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url, environment, kind, expected = ADDRESSES[name]
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    from prefect.settings import PREFECT_API_SSL_CERT_FILE

    with temporary_settings({PREFECT_API_SSL_CERT_FILE: environment.get("PREFECT_API_SSL_CERT_FILE")}):
        check(said_of(url, kind), expected)


def test_where_no_server_is_set_and_none_may_be_started_it_says_so() -> None:
    with temporary_settings({PREFECT_SERVER_EPHEMERAL_ENABLED: False}):
        check(
            said_of(None, PermanentError), "PREFECT_API_URL must name a Prefect server, where PREFECT_SERVER_EPHEMERAL"
        )


def test_an_error_of_a_temporary_server_names_no_variable_that_is_not_set() -> None:
    with temporary_settings({PREFECT_API_URL: None}):
        found = explain(httpx.ConnectError("refused"))
    assert type(found) is TransientError
    assert str(found) == "Prefect's temporary server cannot be reached: refused"


def test_what_was_to_be_sent_is_not_shown() -> None:
    with temporary_settings({PREFECT_API_URL: None}):
        found = explain(httpx.LocalProtocolError("Illegal header value b'secret\\n'"))
    assert type(found) is PermanentError
    assert str(found) == (
        "Prefect's temporary server cannot be asked: PREFECT_CLIENT_CUSTOM_HEADERS and PREFECT_API_KEY must be "
        "printable ASCII"
    )


def test_a_server_that_does_not_speak_tls_is_named() -> None:
    with temporary_settings({PREFECT_API_URL: "https://host/api"}):
        found = explain(httpx.ConnectError("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"))
    assert type(found) is PermanentError
    assert (
        str(found) == "the Prefect server https://host/api does not speak TLS; PREFECT_API_URL must begin with http://"
    )


@pytest.mark.parametrize("name", TEMPORARY)
def test_a_temporary_server_that_does_not_start_says_why(name: str) -> None:
    error, kind, expected = TEMPORARY[name]
    log = f"Traceback (most recent call last):\n  File x\n{error}\n\nApplication startup failed. Exiting.\n"
    found = why_not_started(log)
    assert type(found) is kind
    check(str(found), expected)


def test_a_command_that_hangs_as_it_starts_a_server_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("tasks.temporary_server.get_logger", lambda: SimpleNamespace(info=said.append))
    settings = {PREFECT_HOME: tmp_path, PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 1}
    with temporary_settings(settings), _one_at_a_time(), _one_at_a_time():
        pass
    assert said == [
        f"Waiting for another command that starts its temporary server and holds {tmp_path}/temporary-server.lock"
    ]


def test_without_a_loopback_interface_no_temporary_server_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    check_loopback()

    def connect(*_: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr("socket.create_connection", connect)
    with pytest.raises(PERMANENT, match=r"itself at 127\.0\.0\.1; received: Network is unreachable; bring up its loop"):
        TemporaryServer().start()
