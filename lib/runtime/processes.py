"""Processes for jobs, forked from one that has loaded what they import: TensorFlow takes 5 processor seconds to load, a
fork 5 ms.
"""

import atexit
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from lib.errors import TransientError
from lib.runtime.environment import THREADS, for_computing
from lib.settings import REPOSITORY

NUMBER = struct.Struct("!i")
"""What the fork server says of a job: its process id at the start, its exit code at the end."""
ENDS_WITHIN_S = 5.0


class JobProcess:
    """A forked process, with what `subprocess.Popen` offers of one."""

    def __init__(self, pid: int, stdin: int, stdout: int, status: int, stop_within_s: float) -> None:
        self.pid, self.stop_within_s = pid, stop_within_s
        self.returncode: int | None = None
        """Negative where a signal ended it, as of `subprocess.Popen`."""
        self._stdin, self._status = stdin, status
        self.stdout: IO[str] = os.fdopen(stdout, "r")

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; False where it did not come in time."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout_s)[0]:
                return False
            told = os.read(self._status, NUMBER.size)
            # Without the server nobody can tell how it ended.
            self.returncode = NUMBER.unpack(told)[0] if told else -signal.SIGKILL
        return True

    def end(self) -> None:
        """Ask it to stop, where it has not ended; kill it where it does not in time. Its files are closed then."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self.wait(0):
                with suppress(ProcessLookupError):
                    os.kill(self.pid, number)
                self.wait(self.stop_within_s)
        os.close(self._stdin)
        os.close(self._status)
        self.stdout.close()


class ForkServer:
    """The process from which jobs are forked (`lib.runtime.fork_server`). It ends after this one."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        computing, self.ignored = for_computing(environment)
        atexit.register(self.close)
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lib.runtime.fork_server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=REPOSITORY,
                env={"TF_CPP_MIN_LOG_LEVEL": "2", **computing, "PYTHONUNBUFFERED": "1"},
            )

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def start(self, job: dict[str, Any], stderr: IO[Any], stop_within_s: float) -> JobProcess:
        """Fork a process for `job`. Raises TransientError where the server has died."""
        (stdin, our_stdin), (our_stdout, stdout), (our_status, status) = os.pipe(), os.pipe(), os.pipe()
        try:
            try:
                with suppress(OSError):  # then nothing is told
                    self._send(json.dumps(job).encode() + b"\n", [stdin, stdout, stderr.fileno(), status])
            finally:
                for each in (stdin, stdout, status):
                    os.close(each)
            if not (told := os.read(our_status, NUMBER.size)):
                raise TransientError("the process from which jobs are forked has ended; run again to start another")
        except BaseException:  # an interrupt too: the job, if there is one, finds its input at an end and stops
            for each in (our_stdin, our_stdout, our_status):
                os.close(each)
            raise
        return JobProcess(NUMBER.unpack(told)[0], our_stdin, our_stdout, our_status, stop_within_s)

    def _send(self, data: bytes, files: list[int]) -> None:
        sent = socket.send_fds(self._control, [data], files)
        self._control.sendall(data[sent:])

    def close(self) -> None:
        """Let it end, once its jobs have, and wait for that a moment."""
        self._control.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDS_WITHIN_S)


_lock = threading.Lock()
_servers: list[ForkServer] = []


def start_job(
    job: dict[str, Any], stderr: IO[Any], stop_within_s: float, note: Callable[[str], None] = lambda message: None
) -> JobProcess:
    """A process for `job` from this process's fork server, started where there is none.

    TensorFlow reads its environment as it is loaded: where that has changed, another server is started, and `note` is
    told what of the environment it ignores. A job that is asked to stop is killed after `stop_within_s`.

    Raises TransientError where the server has died: it may have been killed just now, and then another is tried once.
    """
    with _lock:
        had_one = bool(_servers)
        try:
            return _server(note).start(job, stderr, stop_within_s)
        except TransientError:
            if not had_one:
                raise
            _servers.pop().close()
            return _server(note).start(job, stderr, stop_within_s)


def _server(note: Callable[[str], None]) -> ForkServer:
    environment = dict(os.environ)
    for server in list(_servers):
        if not server.is_alive or server.environment != environment:
            server.close()
            _servers.remove(server)
    if not _servers:
        _servers.append(ForkServer(environment))
        if ignored := _servers[0].ignored:
            note(
                f"ignores {', '.join(ignored)} in the environment: results must not depend on it; {THREADS} sets "
                "the number of threads"
            )
    return _servers[0]
