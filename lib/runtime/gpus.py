"""One GPU a process: which there are, and a lock on each that dies with its holder."""

import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import IO
from urllib.parse import quote

from lib.errors import PermanentError
from lib.files import open_lock

CHOICE = "CUDA_VISIBLE_DEVICES"
NO_GPU = {"", "-1"}
LOCKS = Path(f"/tmp/image-training-flows-gpus-{os.getuid()}")
"""Not below TMPDIR, which two processes may set differently; and of each user, or any could hold a GPU for ever."""
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

    `on_wait` is told once that all are taken. However its holder ends, a GPU is free then. Processes of other users
    are not waited for.
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
        locks.mkdir(mode=0o700)
    found = locks.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermanentError(f"{locks} must be a folder of this user, for locks on GPUs; received another's; remove it")
    lock = open_lock(locks / f"{quote(gpu, safe='')}.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock
