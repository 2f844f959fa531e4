"""Prefect's temporary server, for runs without one: `python -m tasks.temporary_server SOCKET` is its process.

It ends with the process that started it, however that ends: its standard input is then at an end.
"""

import atexit
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from prefect.context import refresh_global_settings_context
from prefect.logging import get_logger
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_DATABASE_CONNECTION_URL,
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_API_AUTH_STRING,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    get_current_settings,
    temporary_settings,
)

from lib.command_line import end_at_once, how_to_go_on
from lib.errors import NoThread, PermanentError, PipelineError, TransientError
from lib.files import check_regular, open_lock
from lib.runtime.failures import NO_THREAD_WORDS, more_threads
from tasks.client_settings import refused
from tasks.temporary_settings import OF_EVENTS, environment_of_server

ENDS_WITHIN_S = 5.0
START_FAULTS: dict[str, tuple[type[PipelineError], str]] = {
    "|".join(NO_THREAD_WORDS): (NoThread, more_threads()),
    r"Can't locate revision": (PermanentError, "its database is of a newer version of Prefect; upgrade Prefect"),
    r"no such table|relation .* does not exist": (
        PermanentError,
        "its database has no tables, or not those of this version of Prefect; migrate it (prefect server database "
        "upgrade), or unset PREFECT_SERVER_DATABASE_MIGRATE_ON_START",
    ),
    r"file is not a database|malformed": (PermanentError, "its database is damaged; move it away"),
    r"unable to open database|readonly database|Permission": (PermanentError, "its database cannot be written"),
    r"database is locked": (TransientError, "another program keeps its database locked; end it, and run again"),
    r"disk is full|No space left": (PermanentError, "free space, or set PREFECT_HOME to another place"),
    r"[Aa]uthentication|does not exist|InvalidPassword": (PermanentError, "its database refuses us"),
    r"Connect call failed|ConnectionRefused|TimeoutError|gaierror|Errno": (
        TransientError,
        "its database cannot be reached",
    ),
}
"""Why a temporary server does not start, by the first of these found in the last error that it wrote."""


DRIVERS = {"sqlite+aiosqlite", "postgresql+asyncpg"}


def check_database() -> None:
    """Raise PermanentError where the setting names no database that Prefect can use, or no regular file."""
    try:
        url = urlsplit(PREFECT_API_DATABASE_CONNECTION_URL.value() or "")
        is_one = url.scheme in DRIVERS and (url.port or True)
    except ValueError:
        is_one = False
    if not is_one:
        raise refused(
            PREFECT_API_DATABASE_CONNECTION_URL,
            "must be sqlite+aiosqlite:///PATH, or postgresql+asyncpg:// with user, password, host and name",
        )
    file = Path(url.path.removeprefix("/")) if url.scheme.startswith("sqlite") else Path()
    if "?" in str(home := get_current_settings().home) and str(home) in PREFECT_API_DATABASE_CONNECTION_URL.value():
        raise refused(
            PREFECT_HOME, "must be a path without ?, which would end it in the address of a database", "one with it"
        )
    with suppress(OSError):  # of a folder that is not ours: a server says what is wrong
        if file.exists() and not file.is_dir():
            check_regular(file)


def check_loopback() -> None:
    """Raise PermanentError where this machine does not reach itself: a server that it starts would seem to be late."""
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname(), ENDS_WITHIN_S),
        ):
            pass
    except OSError as error:
        raise PermanentError(
            f"this machine must reach itself at 127.0.0.1; received: {error.strerror or error}; bring up its loopback "
            "interface (ip link set lo up), or allow it in the sandbox"
        ) from error


class TemporaryServer:
    """A server for this process: once it has started, PREFECT_API_URL names it here.

    Prefect's own way would load the server's code here too, for more than a second, and would start one that ends at
    once again and again, for two minutes. Where ours ends later, so does this process: Prefect's client would ask it
    again and again, for a minute at each call. Trainings then save their state.
    """

    url: str | None = None
    """Of the one that serves this process."""

    def start(self) -> None:
        """Wait until it answers. Raises PipelineError with what it says where it does not."""
        check_loopback()
        environment = environment_of_server()
        with (
            _one_at_a_time(),
            socket.create_server(("127.0.0.1", 0)) as ours,
            tempfile.TemporaryFile("w+", errors="replace") as log,
        ):
            self.port = ours.getsockname()[1]
            get_logger().info(
                f"Starting temporary server on {self.address}, for this command alone: PREFECT_API_URL names no other"
            )
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tasks.temporary_server", str(ours.fileno())],
                pass_fds=[ours.fileno()],
                stdin=subprocess.PIPE,  # at its end where this process has ended
                start_new_session=True,  # or Ctrl-C would end it before this process has saved its state
                stdout=log,
                stderr=log,
                env=environment,
            )
            ours.close()  # where the process ends, who waits for its answer finds out
            self._wait_until_it_answers(log)
        self._runs = True
        threading.Thread(target=self._end_after_it, daemon=True).start()
        atexit.register(self.stop)
        os.environ.update({name: value for name, value in environment.items() if name.startswith(OF_EVENTS)})
        TemporaryServer.url = os.environ[PREFECT_API_URL.name] = f"{self.address}/api"
        refresh_global_settings_context()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._runs = False
        get_logger().info(f"Stopping temporary server on {self.address}")
        self._process.terminate()
        try:
            self._process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()

    def _wait_until_it_answers(self, log: IO[str]) -> None:
        limit_s = PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
        asking = HTTPConnection("127.0.0.1", self.port, timeout=limit_s)
        with closing(asking), suppress(TimeoutError):
            try:
                asking.request("GET", "/api/health")
                if asking.getresponse().status == HTTPStatus.OK:
                    return
            except (ConnectionError, HTTPException):
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(limit_s)  # its connection ends before it does
        has_ended = self._process.poll() is not None
        self._process.kill()
        self._process.wait()
        log.seek(0)
        if has_ended:
            raise why_not_started(log.read())
        raise TransientError(
            f"Prefect's temporary server was not ready within {limit_s} s; run again, or set "
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS to more"
        )

    def _end_after_it(self) -> None:
        self._process.wait()
        if self._runs:
            end_at_once(f"Prefect's temporary server ended; {how_to_go_on()}", TransientError.exit_code)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Servers that start together would each make the tables of the database that they share, and most would fail."""
    with ExitStack() as stack:
        with suppress(OSError):  # in a folder that cannot be written a server says what is wrong
            lock = stack.enter_context(open_lock(path := get_current_settings().home / "temporary-server.lock"))
            _wait_for(lock, path)
        yield


def _wait_for(lock: IO[bytes], path: Path) -> None:
    """Hold `lock`, or go on without it where another command has it for longer than a server takes to start."""
    deadline = time.monotonic() + PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
    says = False
    while time.monotonic() < deadline:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not says:
                get_logger().info(f"Waiting for another command that starts its temporary server and holds {path}")
            says = True
            time.sleep(0.05)


def why_not_started(log: str) -> PipelineError:
    """What the log of a temporary server that has ended says."""
    errors = re.findall(r"^[\w.]*(?:Error|Exception|Exit|Refused)\w*: .+$", log, re.MULTILINE)
    if not errors:
        return TransientError("Prefect's temporary server ended before it had started, without a word; run again")
    said = errors[-1]
    kind, why = next(
        (fault for pattern, fault in START_FAULTS.items() if re.search(pattern, said)), (TransientError, "run again")
    )
    home = get_current_settings().home
    return kind(
        f"Prefect's temporary server did not start: {why} ({said}); it is the one of "
        f"PREFECT_API_DATABASE_CONNECTION_URL, or prefect.db in PREFECT_HOME ({home})"
    )


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ENDS_WITHIN_S)
    os._exit(1)


if __name__ == "__main__":
    import uvicorn

    threading.Thread(target=_end_with_parent, daemon=True).start()
    application = "prefect.server.api.server:create_app"
    # The password it asks for is the one that this run's client gives.
    with temporary_settings({PREFECT_SERVER_API_AUTH_STRING: PREFECT_API_AUTH_STRING.value()}):
        config = uvicorn.Config(application, factory=True, log_level="error", lifespan="on")
        server = uvicorn.Server(config)
        server.run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
    sys.exit(0 if server.started else 1)
