"""Near duplicates for a report: a failure loses them and nothing else."""

import logging
from typing import Any

import pytest

from lib.errors import PermanentError
from lib.lineage.manifests import Ref
from tasks import duplicates
from tasks.duplicates import find_duplicates

PREPARED = Ref(uri="prepared/digits/0", sha256="0" * 64)


class Data:
    """A prepared dataset of so many rows."""

    def __init__(self, train: int) -> None:
        self.facts = {"rows": {"train": train, "validation": 50_000, "test": 50_000}}


@pytest.fixture(autouse=True)
def logger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "get_run_logger", lambda: logging.getLogger("duplicates"))
    monkeypatch.setattr(duplicates, "with_retries", lambda task: task)


def test_a_failure_is_a_warning_and_the_report_is_told_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(dataset: str, prepared: Ref) -> Any:
        raise PermanentError("the disk\n is full")

    monkeypatch.setattr(duplicates, "load", lambda *_: Data(100_000))
    monkeypatch.setattr(duplicates, "look_for_duplicates", fail)
    assert find_duplicates("digits", PREPARED, False) == (
        [],
        {"duplicates": "not found, because of an error: the disk is full"},
    )
    assert caplog.messages == ["near duplicates were not found, and the report says so: the disk is full"]


def test_among_too_many_images_they_are_looked_for_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Ref(uri="duplicates/digits/0", sha256="1" * 64)
    monkeypatch.setattr(duplicates, "load", lambda *_: Data(900_000))
    monkeypatch.setattr(duplicates, "look_for_duplicates", lambda *_: found)
    refs, why = find_duplicates("digits", PREPARED, False)
    assert not refs
    assert why["duplicates"].startswith("not looked for: 1,000,000 images take 100,000,000,000 comparisons")
    assert find_duplicates("digits", PREPARED, True) == ([found], {})
