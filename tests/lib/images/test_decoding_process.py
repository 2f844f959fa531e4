"""Images decoded in processes of their own: a file that takes one down is lost alone, and none outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count, islice

import numpy as np
import psutil
import pytest

from lib.errors import TransientError
from lib.images.decoding import NeedsMemory, Picture, Unreadable, decode
from lib.images.decoding_process import JOBS_PER_WORKER, Limits, decode_all
from lib.settings import REPOSITORY

from .encoded_images import large, saved

LARGE = large()


def small(value: int) -> bytes:
    return saved(np.full((3, 2), value, np.uint8), "PNG")


def decoders(parent: int | None = None) -> list[psutil.Process]:
    """Those that live below `parent`, or this process."""
    children = psutil.Process(parent).children(recursive=True)
    return [each for each in children if "lib.images.decoding_child" in " ".join(each.cmdline())]


def shown(answers: Iterator[Picture | Unreadable]) -> list[int | str]:
    """The first pixel of each, or the reason."""
    return [str(each) if isinstance(each, Unreadable) else int(each.pixels[0, 0, 0]) for each in answers]


def ended(process: psutil.Process) -> bool:
    """Whether it ends within a while; whoever adopts it may not have asked how."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def signalling(number: signal.Signals) -> Iterator[bytes]:
    """Three files; the one process gets the signal while it decodes the second, which is large."""
    yield small(1)
    yield LARGE
    (decoder,) = decoders()
    decoder.send_signal(number)
    assert number == signal.SIGSTOP or ended(decoder)
    yield small(3)


@pytest.mark.parametrize("workers", [1, 2])
def test_answers_come_in_order(workers: int) -> None:
    files = [small(each) for each in range(20)]
    files[3] = b"no image"
    files[0] = LARGE  # the others are ready before it
    answers = list(decode_all(files, None, None, workers=workers))
    assert [each.size for each in answers if isinstance(each, Picture)] == [(5_000, 8_000)] + [(3, 2)] * 18
    assert shown(iter(answers))[4:] == list(range(4, 20))
    assert "received something else" in str(answers[3])
    assert not decoders()


def test_a_picture_is_as_one_decodes_it_here() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1_000, 1_500, 3), np.uint8)
    file = saved(pixels, "PNG")
    for side_px, channels in ((None, None), (64, 1), (64, 3)):
        (there,) = decode_all([file], side_px, channels, workers=1)
        here = decode(file, side_px, channels)
        assert isinstance(there, Picture)
        assert np.array_equal(there.pixels, here.pixels)
        assert there[1:] == here[1:]
        assert not there.pixels.flags.writeable


def test_no_files_take_no_process() -> None:
    assert list(decode_all([], None, None)) == []


def test_only_a_few_files_are_taken_ahead() -> None:
    taken = count()
    answers = decode_all((small(next(taken) % 256) for _ in count()), None, None, workers=2)
    assert shown(islice(answers, 10)) == list(range(10))
    assert next(taken) <= 10 + 2 * JOBS_PER_WORKER + 1
    started = decoders()
    assert len(started) == 2
    answers.close()  # type: ignore[attr-defined]
    assert all(ended(each) for each in started)


def test_a_file_that_crashes_the_decoder_is_lost_alone() -> None:
    for number in (signal.SIGSEGV, signal.SIGKILL):
        answers = shown(decode_all(signalling(number), None, None, workers=1))
        assert answers == [1, f"crashed its decoder ({number.name})", 3]


def test_a_file_that_takes_too_long_is_lost_alone() -> None:
    limits = Limits(seconds=1)
    answers = shown(decode_all(signalling(signal.SIGSTOP), None, None, limits=limits, workers=1))
    assert answers == [1, "took more than 1 s", 3]


def test_an_answer_that_has_come_counts_however_late_one_looks() -> None:
    answers = decode_all([small(1), small(2), small(3)], None, None, limits=Limits(seconds=1), workers=1)
    first = next(answers)
    time.sleep(1.2)
    assert shown(iter([first, *answers])) == [1, 2, 3]


def test_a_file_that_takes_too_much_memory_is_lost_alone() -> None:
    limits = Limits(memory_bytes=50 << 20)
    answers = list(decode_all([small(1), LARGE, small(3)], None, None, limits=limits, workers=1))
    assert isinstance(answers[1], NeedsMemory)
    assert shown(iter(answers)) == [1, "needed more than 50 MiB of memory", 3]


def test_encoded_bytes_that_take_too_much_memory_are_lost_alone() -> None:
    limits = Limits(memory_bytes=10 << 20)
    answers = shown(decode_all([small(1), bytes(100 << 20), small(3)], None, None, limits=limits, workers=1))
    assert answers == [1, "needed more than 10 MiB of memory", 3]


def test_a_process_that_was_killed_after_it_had_answered_loses_none() -> None:
    def files() -> Iterator[bytes]:
        yield small(1)
        yield small(2)
        time.sleep(1)  # for the answer
        (decoder,) = decoders()
        decoder.kill()
        assert ended(decoder)
        yield small(3)

    assert shown(decode_all(files(), None, None, workers=1)) == [1, 2, 3]


def test_an_error_of_the_source_ends_the_processes() -> None:
    def files() -> Iterator[bytes]:
        yield small(1)
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="the source is gone"):
        list(decode_all(files(), None, None))
    assert not decoders()


def test_processes_that_cannot_start_are_an_error_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(TransientError, match="must start; received one that crashed its decoder"):
        next(decode_all([small(1)], None, None))
    monkeypatch.setattr(sys, "executable", "/nowhere")
    with pytest.raises(TransientError, match="must start; received No such file or directory"):
        next(decode_all([small(1)], None, None))


PARENT = """
import sys, time
from lib.images.decoding_process import decode_all
from tests.lib.images.encoded_images import large
LARGE = large()
def files():
    yield LARGE
    print("decoding", flush=True)
    yield LARGE
    time.sleep(60)
for _ in decode_all(files(), None, None, workers=1):
    pass
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_process_ends_with_its_parent(number: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout
    assert parent.stdout.readline() == "decoding\n"
    (decoder,) = decoders(parent.pid)
    os.killpg(parent.pid, number)  # as a terminal does for Ctrl-C
    _, said = parent.communicate(timeout=20)
    assert ended(decoder)
    if number == signal.SIGINT:
        assert said.count("Traceback") == 1
        assert said.endswith("KeyboardInterrupt\n")
        assert "decoding_child" not in said


def test_the_process_starts_with_little() -> None:
    code = "import sys; before = set(sys.modules); import lib.images.decoding_child; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    names = set(loaded.stdout.split())
    assert "PIL.Image" in names
    assert not names & {"tensorflow", "prefect", "pandas", "pyarrow", "httpx", "PIL.EpsImagePlugin"}
