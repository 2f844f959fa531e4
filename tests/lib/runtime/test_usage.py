"""What a process has used."""

import time

from lib.runtime.usage import Spent, processor_seconds, usage


def busy(seconds: float) -> None:
    until = processor_seconds() + seconds
    while processor_seconds() < until:
        pass


def test_a_clock_goes_on_from_what_was_spent_before_and_counts_no_sleep_as_work() -> None:
    spent = Spent(100.0, 40.0)
    busy(0.05)
    time.sleep(0.1)
    seconds, processor_s = spent.by_now()
    assert 100.15 <= seconds < 110
    assert 40.05 <= processor_s < 41


def test_the_most_memory_is_in_bytes_and_outlasts_what_took_it() -> None:
    held = bytearray(b"x") * 300_000_000
    del held
    assert usage(1.23456)["processor_seconds"] == 1.235
    assert 300e6 < usage(0)["peak_memory_bytes"] < 100e9
