"""A proxy before a real S3 server that breaks chosen requests in chosen ways."""

import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlparse

Kind = Literal["409", "500", "501", "503", "late", "stalled", "request reset", "answer cut", "answer lost", "call"]
CODES = {"409": "ConditionalRequestConflict", "500": "InternalError", "501": "NotImplemented", "503": "SlowDown"}
BODIES = {status: f"<Error><Code>{code}</Code></Error>".encode() for status, code in CODES.items()}


@dataclass
class Fault:
    """What happens to requests with `method` whose address contains `part`: to each `every`-th one, `times` in all."""

    kind: Kind
    method: str = ""
    part: str = ""
    every: int = 1
    times: int = 1
    seconds: float = 0
    call: Callable[[], None] = lambda: None
    """For kind `call`: made before the request is passed on."""
    met: int = field(default=0, init=False)
    done: int = field(default=0, init=False)

    def strikes(self, method: str, path: str) -> bool:
        if self.done >= self.times or self.method not in method or self.part not in path:
            return False
        self.met += 1
        if self.met % self.every:
            return False
        self.done += 1
        return True


class Proxy(ThreadingHTTPServer):
    """Passes requests on to `upstream`, but for those that a fault strikes."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlparse(upstream).netloc
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        self.faults: list[Fault] = []
        self._lock = threading.Lock()

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self._lock:
            return next((fault for fault in self.faults if fault.strikes(method, path)), None)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed has closed its connection: nothing to say."""


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        fault = self.server.fault_for(self.command, self.path)
        kind = fault.kind if fault else None
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length // 2 if kind == "request reset" else length)
        if fault and kind in {"late", "stalled"}:
            time.sleep(fault.seconds)
        if fault and kind == "call":
            fault.call()
        if kind in BODIES:
            self._answer(int(kind or 0), [("Content-Type", "application/xml")], BODIES[kind or ""])
        elif kind in {"request reset", "stalled"}:
            self._reset()
        else:
            self._pass_on(body, kind)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815

    def _pass_on(self, body: bytes, kind: str | None) -> None:
        try:
            status, headers, answer = self._ask(body)
        except (OSError, http.client.HTTPException):
            self._reset()
            return
        if kind != "answer lost":
            self._answer(status, headers, answer, len(answer) // 2 if kind == "answer cut" else None)
        if kind in {"answer lost", "answer cut"}:
            self._reset()

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():  # Host too: it is part of the signature
                if name.lower() not in {"expect", "connection"}:
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, cut_at: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in {"content-length", "transfer-encoding", "connection"} or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut_at])
        self.wfile.flush()

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the faults' own outcome is what counts."""


@contextmanager
def proxy_before(upstream: str) -> Iterator[Proxy]:
    """A running proxy before the server at the address `upstream`."""
    with Proxy(upstream) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
