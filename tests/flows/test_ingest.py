"""Who listens is told of a new version of a dataset, whatever was killed between its commit and the telling."""

from pathlib import Path

import pytest

from flows.ingest import ingest
from tasks import ingestion


@pytest.fixture
def told(prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The events of ingests into an empty store."""
    events: list[str] = []
    monkeypatch.setenv("STORE_URI", str(tmp_path / "store"))
    monkeypatch.setattr(ingestion, "emit_event", lambda event, resource, payload: events.append(event))
    return events


def test_a_new_version_is_told_of_once_and_again_by_a_run_that_is_tried_again(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ingest("digits")
    assert told == ["dataset.updated"]
    assert ingest("digits") == first
    assert told == ["dataset.updated"], "the same version is nothing new"
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT", "2")
    assert ingest("digits") == first
    assert told == ["dataset.updated"] * 2, "the first try may have been killed before it told"
