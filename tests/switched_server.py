"""A way to a Prefect server on which faults are switched on while a run uses it, as proxies and servers have them."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit

PAGE = b"<!doctype html><title>Log in</title>"
SAID = b'{"exception_message":"Unauthorized"}'
ANSWERS = {
    "another password": b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\n",
    "a login page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n",
    "busy for an hour": b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3600\r\nContent-Type: application/json\r\n",
    "a broken database": b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n",
}
HANGS, GONE = "hangs", "gone"


class SwitchedServer(ThreadingTCPServer):
    """Passes all on to `upstream`, until a `fault` is switched on."""

    allow_reuse_address = daemon_threads = True
    request_queue_size = 64

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.upstream = urlsplit(upstream)
        self.url = f"http://127.0.0.1:{self.server_address[1]}{self.upstream.path}"
        self.fault: str | None = None
        self.open: set[socket.socket] = set()

    def switch_on(self, fault: str | None) -> None:
        """From now on; connections that are open end, unless it hangs."""
        self.fault = fault
        if fault != HANGS:
            for each in list(self.open):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


class _Connection(BaseRequestHandler):
    server: SwitchedServer
    request: socket.socket

    def handle(self) -> None:
        self.server.open.add(self.request)
        with suppress(OSError):
            if self.server.fault is None:
                self._pass_on()
            elif self.server.fault == HANGS:
                self._hang()
            elif self.server.fault != GONE:
                self._answer(ANSWERS[self.server.fault])
        self.server.open.discard(self.request)

    def _pass_on(self) -> None:
        address = (self.server.upstream.hostname, self.server.upstream.port)
        with socket.create_connection(address) as upstream:
            back = threading.Thread(target=self._copy, args=(upstream, self.request), daemon=True)
            back.start()
            self._copy(self.request, upstream)
            back.join()

    def _copy(self, source: socket.socket, to: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self._hang()
                to.sendall(data)
        for each in (source, to):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _hang(self) -> None:
        while self.server.fault == HANGS:
            threading.Event().wait(0.1)

    def _answer(self, head: bytes) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            received += self.request.recv(1 << 16) or b"\r\n\r\n"
        asked, _, body = received.partition(b"\r\n\r\n")
        lengths = [line.split(b":")[1] for line in asked.lower().split(b"\r\n") if line.startswith(b"content-length")]
        missing = int(lengths[0] if lengths else 0) - len(body)
        while missing > 0:
            missing -= len(self.request.recv(1 << 16)) or missing
        said = PAGE if b"html" in head else SAID
        self.request.sendall(head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(said) + said)


@contextmanager
def switched_server(upstream: str) -> Iterator[SwitchedServer]:
    """One before the API at `upstream`."""
    with SwitchedServer(upstream) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.switch_on(GONE)
        server.shutdown()
