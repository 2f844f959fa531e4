"""Standard input, output and error of a command: open, and where they cannot be written, named."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper

from lib.errors import PermanentError

_left: set[int] = set()
"""Streams that cannot be written."""


def open_closed_streams() -> None:
    """To nothing: a file that is opened next would get the number of a closed one, and what others print on it."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def name_standard_output() -> None:
    """Have it say what it is where it cannot be written; what it cannot show, it shows as ?."""
    if type(sys.stdout) is TextIOWrapper:  # and the other one, which rich asks for its width
        sys.stdout = sys.__stdout__ = _Output.of(sys.stdout)  # type: ignore[misc]


class _Output(TextIOWrapper):
    """Standard output that says what it is where it cannot be written: Python's error is that of no file."""

    @classmethod
    def of(cls, output: TextIOWrapper) -> "_Output":
        settings = {name: getattr(output, name) for name in ("encoding", "line_buffering", "write_through")}
        return cls(output.detach(), errors="replace", **settings)

    def write(self, text: str) -> int:
        with explained("standard output", 1):
            return super().write(text)

    def flush(self) -> None:
        with explained("standard output", 1):
            super().flush()


@contextmanager
def explained(name: str, number: int) -> Iterator[None]:
    """Raise PermanentError where the stream of that name and number cannot be written."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        leave(number)
        raise PermanentError(f"{name} must be writable; received: {error.strerror}; send it elsewhere") from error


def flush() -> None:
    """Raise PermanentError where what was printed cannot be written."""
    for stream, number, name in ((sys.stdout, 1, "standard output"), (sys.stderr, 2, "standard error")):
        if stream:
            with explained(name, number):
                stream.flush()


def leave(number: int) -> None:
    """What is still to be written there goes nowhere, or Python would say so as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    _left.add(number)


def print_error(message: str) -> None:
    """On standard error, or else on standard output."""
    for stream, number in ((sys.stderr, 2), (sys.stdout, 1)):
        if stream and number not in _left:
            try:
                print(f"error: {message}", file=stream, flush=True)
                return
            except (OSError, PermanentError):
                leave(number)
