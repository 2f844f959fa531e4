"""Web servers on free ports of this machine: one that answers all alike, and one whose answer never ends."""

import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import prefect


@contextmanager
def web_server(
    status: int = 200, ahead_s: float = 0, body: bytes = b"<html>", asks: bool = False, date: str = ""
) -> Iterator[str]:
    """The address of one that answers all with `body`, by a clock that is `ahead_s`; it may ask for a login.

    `date` is what it says instead of the time of its clock.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.send_response(401 if asks and "Authorization" not in self.headers else status)
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:
            return date or super().date_time_string(int(time.time() + ahead_s))

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def do_DELETE(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def prefect_api(refuses: bool = False) -> Iterator[str]:
    """The address of an API that answers what is asked of a Prefect server before a command uses it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_token = self.path.startswith("/api/csrf-token")  # it needs none
            self._answer(404 if is_token else 200, f'"{prefect.__version__}"')

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(200, "[]")

        def _answer(self, status: int, body: str) -> None:
            self.send_response(401 if refuses else status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/api"
        server.shutdown()


@contextmanager
def endless_server(begins: bytes, goes_on: bytes, pause_s: float = 0.005) -> Iterator[str]:
    """The address of one that answers with `begins`, and then with `goes_on` again and again until the client leaves.

    Without a pause it does so as fast as it can.
    """
    ended = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.request.recv(1 << 16)
                self.request.sendall(begins)
                while not ended.wait(pause_s) if pause_s else not ended.is_set():
                    self.request.sendall(goes_on)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        ended.set()
        server.shutdown()
