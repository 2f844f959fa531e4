"""What asks a process to stop, as an exception that is raised where it is safe."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_asked: list[tuple[int, float]] = []
_deferred = threading.Event()


class Interrupted(BaseException):
    """This process was asked to stop; the argument is the signal's number."""


def stop_signals() -> list[signal.Signals]:
    """Those that ask this process to stop: also that its terminal was closed, unless `nohup` has started it."""
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hangs_up else [])]


def catch_signals() -> None:
    """From now on, raise Interrupted in the main thread when a signal asks to stop."""
    for number in stop_signals():
        signal.signal(number, _on_signal)


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Hold Interrupted back to the next `raise_if_interrupted`: TensorFlow aborts when its callbacks raise."""
    _deferred.set()
    try:
        yield
    finally:
        _deferred.clear()
    raise_if_interrupted()


def raise_if_interrupted(patience_s: float = 0) -> None:
    """Raise Interrupted if a signal has come, and `patience_s` have passed since."""
    if _asked:
        signum, at = _asked[0]
        if time.monotonic() - at >= patience_s:
            raise Interrupted(signum)


def _on_signal(signum: int, frame: object) -> None:
    _asked.append((signum, time.monotonic()))
    # Once is enough: a second signal must not cut the saving of state.
    if len(_asked) == 1 and not _deferred.is_set():
        raise Interrupted(signum)
