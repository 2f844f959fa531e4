"""What this process has used so far."""

import resource
import sys
import time
from typing import Any

UNIT_BYTES = 1 if sys.platform == "darwin" else 1024
"""Of what the system says of memory."""


def processor_seconds() -> float:
    """Spent by all threads of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def usage(spent_s: float) -> dict[str, Any]:
    """For the record of an output that took so many processor seconds: these, and the most memory of this process."""
    return {
        "processor_seconds": round(spent_s, 3),
        "peak_memory_bytes": UNIT_BYTES * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


class Spent:
    """A clock that goes on from what earlier processes have spent."""

    def __init__(self, seconds: float, processor_s: float) -> None:
        self._seconds_before = seconds - time.monotonic()
        self._processor_s_before = processor_s - processor_seconds()

    def by_now(self) -> tuple[float, float]:
        """Seconds and processor seconds, in all."""
        return self._seconds_before + time.monotonic(), self._processor_s_before + processor_seconds()
