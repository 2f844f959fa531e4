"""Decodes the images of users in processes of their own: a file that takes one down is lost alone.

Measured: 0.2 s to start a process, once, and 0.1 ms a file; the C libraries in it may crash, hang and take memory.
"""

import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from fcntl import fcntl
from itertools import islice
from typing import Any, Literal, NamedTuple

import numpy as np

from lib.errors import TransientError
from lib.images.decoding import MAX_PIXELS, NeedsMemory, Picture, Unreadable
from lib.images.decoding_child import ANSWER, NO_MEMORY, READY, REQUEST
from lib.lineage.provenance import usable_cores
from lib.settings import REPOSITORY

STARTS_WITHIN_S = 60.0
JOBS_PER_WORKER = 4
"""Files at most whose pixels are awaited, or wait for their turn."""
WAITING_BYTES = 64 << 20
"""Of pixels that wait for their turn: above it, no further file is begun."""
LONGEST_TEXT, LONGEST_REASON = 1 << 16, 199
PIPE_BYTES = 1 << 20
SET_PIPE_SIZE = 1031
"""What Linux calls F_SETPIPE_SZ. Its own 64 kB would wake both processes 16 times for each MB."""


class Limits(NamedTuple):
    """What one file may take."""

    seconds: float = 20.0
    memory_bytes: int = 1 << 30


LIMITS = Limits()


class _Died(Exception):
    """The decoder has ended, or what it says makes no sense; the message goes on from the name of the file."""


@dataclass(eq=False)
class _Job:
    answer: Picture | Unreadable | None = None


def decode_all(
    encoded: Iterable[bytes],
    side_px: int | None,
    channels: Literal[1, 3] | None,
    *,
    limits: Limits = LIMITS,
    workers: int | None = None,
) -> Generator[Picture | Unreadable, None, None]:
    """`decode` of each, in order, in `workers` processes (one for each usable core); where it fails, its error.

    A few of `encoded` are taken ahead. The processes end with the iterator: at its end, as it is closed or an error
    comes, a KeyboardInterrupt among them. Raises TransientError where none can be started.
    """
    source, jobs, decoders = iter(encoded), deque[_Job](), list[_Decoder]()
    most = workers or usable_cores()
    try:
        taken = list(islice(source, 1))
        while True:
            decoder = _idle(jobs, decoders, limits, most) if taken else None
            if decoder:
                jobs.append(_Job())
                decoder.begin(jobs[-1], taken.pop(), side_px or 0, channels or 0)
                taken = list(islice(source, 1))
            elif not jobs:
                return
            elif answer := jobs[0].answer:
                jobs.popleft()
                yield answer
            else:
                _wait([each for each in decoders if each.job])
    finally:
        for each in decoders:
            each.end()


def _idle(jobs: deque[_Job], decoders: list["_Decoder"], limits: Limits, most: int) -> "_Decoder | None":
    """A decoder that may begin another file now; started, where there are fewer than `most`."""
    waiting = sum(job.answer.pixels.nbytes for job in jobs if isinstance(job.answer, Picture))
    if len(jobs) >= JOBS_PER_WORKER * most or waiting > WAITING_BYTES:
        return None
    for each in [each for each in decoders if not each.job and not each.is_alive]:
        each.end()
        decoders.remove(each)
    idle = next((each for each in decoders if not each.job), None)
    if idle is None and len(decoders) < most:
        idle = _Decoder(limits)
        decoders.append(idle)
    return idle


def _wait(busy: list["_Decoder"]) -> None:
    """Wait until one has answered or has no time left. An answer that has come counts, however late one looks."""
    left = max(0.0, min(each.deadline for each in busy) - time.monotonic())
    ready = select.select([each.answers for each in busy], [], [], left)[0]
    for each in busy:
        if each.answers in ready:
            each.finish()
        elif time.monotonic() >= each.deadline:
            each.give_up(Unreadable(f"took more than {each.limits.seconds:g} s"))


class _Decoder:
    """A process that decodes one file at a time."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.deadline = limits, math.inf
        self.job: _Job | None = None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lib.images.decoding_child", str(limits.seconds), str(limits.memory_bytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # libtiff writes there what is wrong with a file
                bufsize=0,
                cwd=REPOSITORY,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # threads that nothing uses take time to start
                process_group=0,  # a Ctrl-C in a terminal is for us, and we end it
            )
        except OSError as error:
            raise TransientError(f"a process that decodes images must start; received {error.strerror}") from error
        assert self._process.stdin
        assert self._process.stdout
        self._requests, self.answers = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._is_ready = False
        for each in (self._requests, self.answers):
            os.set_blocking(each, False)
            with suppress(OSError):  # not Linux, or so many pipes that the system gives no more
                fcntl(each, SET_PIPE_SIZE, PIPE_BYTES)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def begin(self, job: _Job, encoded: bytes, side_px: int, channels: int) -> None:
        """Have it decode `encoded`: `job` has its answer some time after this."""
        if not self._is_ready:
            self._await_start()
        self.job, self.deadline = job, time.monotonic() + self.limits.seconds
        try:
            self._write(REQUEST.pack(len(encoded), side_px, channels))
            self._write(encoded)
        except (_Died, TimeoutError) as error:
            self._fail(error)

    def finish(self) -> None:
        """Give its job the answer that has begun to come."""
        assert self.job
        self.deadline = time.monotonic() + self.limits.seconds
        try:
            self.job.answer = self._answer()
            self.job = None
        except (_Died, TimeoutError) as error:
            self._fail(error)

    def give_up(self, answer: Unreadable) -> None:
        """End it, since it has no `answer` of its own."""
        self.end()
        assert self.job
        self.job.answer, self.job = answer, None

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for each in (self._process.stdin, self._process.stdout):
            assert each
            each.close()

    def _await_start(self) -> None:
        self.deadline = time.monotonic() + STARTS_WITHIN_S
        try:
            self._is_ready = self._read(len(READY)) == READY
        except (_Died, TimeoutError) as error:
            said = str(error) or f"did not within {STARTS_WITHIN_S:g} s"
            raise TransientError(f"a process that decodes images must start; received one that {said}") from error

    def _fail(self, error: _Died | TimeoutError) -> None:
        if isinstance(error, TimeoutError):
            self.give_up(Unreadable(f"took more than {self.limits.seconds:g} s"))
        elif self._process.poll() == NO_MEMORY:
            self.give_up(self._needs_memory())
        else:
            self.give_up(Unreadable(str(error)))

    def _needs_memory(self) -> NeedsMemory:
        return NeedsMemory(f"needed more than {self.limits.memory_bytes >> 20:,} MiB of memory")

    def _answer(self) -> Picture | Unreadable:
        text_bytes, pixel_bytes = ANSWER.unpack(self._read(ANSWER.size))
        if text_bytes > LONGEST_TEXT or pixel_bytes > 3 * MAX_PIXELS:
            raise _Died("crashed its decoder (it says nonsense)")
        text, pixels = self._read(text_bytes), self._read(pixel_bytes)
        try:
            return self._understood(json.loads(text), pixels)
        except (ValueError, LookupError, TypeError) as error:
            raise _Died("crashed its decoder (it says nonsense)") from error

    def _understood(self, said: dict[str, Any], pixels: bytearray) -> Picture | Unreadable:
        if "needs_memory" in said:
            return self._needs_memory()
        if "unreadable" in said:
            return Unreadable(str(said["unreadable"])[:LONGEST_REASON])
        height, width = said["size"]
        image = np.frombuffer(pixels, np.uint8).reshape(said["pixels"])
        image.flags.writeable = False
        return Picture(image, (int(height), int(width)), said["mode"], said["format"], tuple(said["conversions"]))

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            self._until([], [self._requests])
            try:
                left = left[os.write(self._requests, left) :]
            except BrokenPipeError:
                raise self._died() from None

    def _read(self, size: int) -> bytearray:
        data = bytearray(size)
        left = memoryview(data)
        while left:
            self._until([self.answers], [])
            if not (count := os.readv(self.answers, [left])):
                raise self._died()
            left = left[count:]
        return data

    def _until(self, readable: list[int], writeable: list[int]) -> None:
        left = self.deadline - time.monotonic()
        if not any(select.select(readable, writeable, [], max(0.0, left))):
            raise TimeoutError

    def _died(self) -> _Died:
        code = self._process.wait()
        return _Died(f"crashed its decoder ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})")
