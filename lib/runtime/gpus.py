"""One GPU a process: which there are, and a lock on each that dies with its holder."""

import fcntl
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import IO
from urllib.parse import quote

CHOICE = "CUDA_VISIBLE_DEVICES"
NO_GPU = {"", "-1"}
LOCKS = Path(tempfile.gettempdir()) / "image-training-flows-gpus"
"""One folder for all users of a machine."""
POLL_S = 1.0


def visible_gpus(devices: Path = Path("/dev")) -> list[str]:
    """The ids of the GPUs that this process may use: those that CUDA_VISIBLE_DEVICES chooses, or else all."""
    chosen = os.environ.get(CHOICE)
    # CUDA counts from 0 what it finds: in a container whose only GPU is nvidia3, that is GPU 0.
    every = [str(number) for number in range(_count(devices))]
    if chosen is None or not every:
        return every
    return list(takewhile(lambda gpu: gpu not in NO_GPU, (gpu.strip() for gpu in chosen.split(","))))


def _count(devices: Path) -> int:
    nvidia = [device for device in devices.glob("nvidia*") if re.fullmatch(r"nvidia\d+", device.name)]
    return len(nvidia) or int((devices / "dxg").exists())  # dxg: Windows' GPU, seen from its Linux


@contextmanager
def one_gpu(gpus: list[str], on_wait: Callable[[str], None], locks: Path = LOCKS) -> Iterator[str | None]:
    """Hold one of `gpus`, as the only one that CUDA sees, after waiting until one is free; None where there are none.

    `on_wait` is told once that all are taken. However its holder ends, a GPU is free then.
    """
    if not gpus:
        yield None
        return
    gpu, lock = _wait_for_one(gpus, on_wait, locks)
    with lock, _choosing(gpu):
        yield gpu


@contextmanager
def no_gpu() -> Iterator[None]:
    """Hide all GPUs from CUDA: a recipe for a CPU gives the same bits where there is one, and leaves it to others."""
    with _choosing("-1"):
        yield


@contextmanager
def _choosing(gpu: str) -> Iterator[None]:
    before = os.environ.get(CHOICE)
    os.environ[CHOICE] = gpu
    try:
        yield
    finally:
        if before is None:
            del os.environ[CHOICE]
        else:
            os.environ[CHOICE] = before


def _wait_for_one(gpus: list[str], on_wait: Callable[[str], None], locks: Path) -> tuple[str, IO[bytes]]:
    told = False
    while True:
        for gpu in gpus:
            if lock := _try(locks, gpu):
                return gpu, lock
        if not told:
            told = True
            on_wait(f"waits for a GPU: all that it may use ({', '.join(gpus)}) are taken")
        time.sleep(POLL_S)


def _try(locks: Path, gpu: str) -> IO[bytes] | None:
    """The lock on `gpu`, held until it is closed; None where another has it."""
    with suppress(FileExistsError):
        locks.mkdir()
        locks.chmod(0o1777)  # as /tmp's: all may add, none remove another's
    file = locks / f"{quote(gpu, safe='')}.lock"
    # Made apart from opening it: in such a folder Linux lets nobody open another's file with O_CREAT.
    with suppress(FileExistsError):
        file.touch(exist_ok=False)
        file.chmod(0o666)
    lock = file.open("r+b")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock
