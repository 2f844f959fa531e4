"""Bounds on how long a server may take to answer. A socket's own timeout begins anew with each byte that comes."""

import contextvars
import io
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import Any, TypeVar

import urllib3.connection

FLOOR_BYTES_PER_S = 1_000
WINDOW_S = 30.0
"""Over which the rate is measured, and at most for a header: below the floor, a server might as well have stopped."""

Result = TypeVar("Result")
_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)


class TooSlow(Exception):
    """An answer that does not come to its end; the message goes on from the name of what was asked."""


def within(limit_s: float, call: Callable[[], Result]) -> Result:
    """What `call` gives. Raises TooSlow where it takes longer; its thread is left behind, as nothing could wake it."""
    ended: queue.SimpleQueue[tuple[Result | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            with every_answer_within(limit_s):
                ended.put((call(), None))
        except BaseException as error:
            ended.put((None, error))

    threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True).start()
    try:
        result, error = ended.get(timeout=limit_s)
    except queue.Empty:
        raise TooSlow(f"did not answer within {limit_s:g} s") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


@contextmanager
def every_answer_within(limit_s: float) -> Iterator[None]:
    """What is read of answers through urllib3 within this raises TooSlow after `limit_s`."""
    token = _deadline.set(min(_deadline.get(), time.monotonic() + limit_s))
    try:
        yield
    finally:
        _deadline.reset(token)


def watch_answers() -> None:
    """From now on all answers through urllib3, as of requests and boto3, raise TooSlow where they hardly move."""
    urllib3.connection.HTTPConnection.response_class = _WatchedResponse


class _WatchedResponse(HTTPResponse):
    def __init__(self, sock: Any, *more: Any, **options: Any) -> None:
        super().__init__(_Watched(sock), *more, **options)  # type: ignore[arg-type]

    def begin(self) -> None:
        with every_answer_within(WINDOW_S):  # a server may say "100 Continue" again and again
            super().begin()


class _Watched:
    """The part of a socket that an answer reads from."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def makefile(self, mode: str, *_: object) -> io.BufferedReader:
        return io.BufferedReader(_WatchedStream(self._sock.makefile(mode, buffering=0)))


class _WatchedStream(io.RawIOBase):
    """Only the time in which it waits for bytes counts, not that of whoever reads them."""

    def __init__(self, stream: io.RawIOBase) -> None:
        self._stream = stream
        self._waited_s, self._received = 0.0, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        began = time.monotonic()
        count = self._stream.readinto(buffer)
        now = time.monotonic()
        self._waited_s, self._received = self._waited_s + now - began, self._received + (count or 0)
        if count and now > _deadline.get():
            raise TooSlow("does not come to an end of its answer")
        if count and self._waited_s >= WINDOW_S:
            check_rate(self._received, self._waited_s)
            self._waited_s, self._received = 0.0, 0
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


def check_rate(received_bytes: int, passed_s: float) -> None:
    """Raise TooSlow where that is below the floor."""
    if received_bytes < FLOOR_BYTES_PER_S * passed_s:
        raise TooSlow(
            f"must send {FLOOR_BYTES_PER_S:,} bytes a second; received {received_bytes:,} in {passed_s:.0f} s"
        )
