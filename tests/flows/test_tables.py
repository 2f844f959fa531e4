"""What a plan comes to, in one line."""

import pytest

from flows.tables import total
from lib.planning.preview import Line


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([Line("train a", "done"), Line("train b", "left out")], "In all: nothing to do"),
        (
            [
                Line("ingest data", "would run", fetched_bytes=250_000_000, stored_bytes=184_320_000),
                Line("train a", "would run", seconds=90, stored_bytes=1_000_000),
                Line("train b", "would resume", seconds=31),
                Line("train c", "done", seconds=1000),
            ],
            "In all: about 2 min 1 s of work on this machine, 185 MB to store, and up to 250 MB to fetch and keep",
        ),
        (
            [Line("train a", "would run"), Line("report", "would run")],
            "In all: seconds of work on this machine (not known of: train a), 0 MB to store, and nothing to fetch",
        ),
    ],
)
def test_a_plan_says_what_all_work_comes_to(lines: list[Line], said: str) -> None:
    assert total(lines) == said
