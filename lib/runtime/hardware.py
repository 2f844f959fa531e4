"""What this machine can compute on, told without loading TensorFlow."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from lib.errors import NoGpu, PermanentError
from lib.runtime.failures import of_exception
from lib.runtime.gpus import visible_gpus

RunsOn = Literal["cpu", "gpu"]
EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
THREADS_OF_A_RUN = 32
"""At least: those of Prefect, OpenBLAS and PyArrow. Its temporary server and its trainings have more."""


def has_gpu(devices: Path = Path("/dev")) -> bool:
    """Whether an NVIDIA GPU is there and not hidden by CUDA_VISIBLE_DEVICES."""
    return bool(visible_gpus(devices))


def can_run_here(runs_on: RunsOn, allow_cpu: bool) -> bool:
    """Whether what `runs_on` asks for is here: no GPU is needed, or one is there, or it may do without."""
    return runs_on == "cpu" or allow_cpu or has_gpu()


def require_clock() -> None:
    """Raise PermanentError where the clock of this machine is that of one that lost its battery: files need a date."""
    if (now := datetime.now(UTC)) < EARLIEST:
        raise PermanentError(f"this machine's clock must be right; it says {now:%d %B %Y}; set it, and run again")


def require_threads(count: int = THREADS_OF_A_RUN) -> None:
    """Raise NoThread where this process cannot have so many at once; some libraries crash, or go on without a word."""
    enough, started = threading.Event(), list[threading.Thread]()
    try:
        for _ in range(count):
            thread = threading.Thread(target=enough.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        raise of_exception("this run", error) or error from error
    finally:
        enough.set()
        for thread in started:
            thread.join()


def require_hardware(name: str, runs_on: RunsOn, allow_cpu: bool, pool: str | None = None) -> None:
    """Raise NoGpu where the recipe called `name` cannot run here, on a worker of `pool` if that is given."""
    if not can_run_here(runs_on, allow_cpu):
        raise NoGpu(f"{name} {WHY_NOT_ON_WORKER.format(pool=pool) if pool else WHY_LEFT_OUT}")


WHY_LEFT_OUT = "runs on a GPU and this machine has none; --allow-cpu (ALLOW_CPU=1) trains it here, slowly"
WHY_NOT_ON_WORKER = (
    "runs on a GPU and this worker of the pool {pool} has none; start it on a machine with one, "
    "or set ALLOW_CPU=1 in its environment to train there without, slowly"
)
