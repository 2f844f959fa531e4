"""Data that are prepared already need no process."""

from pathlib import Path

import pytest

from lib.data.datasets import DATASETS
from lib.data.ingest import ingest
from lib.data.prepare import prepare
from lib.lineage.manifests import Ref
from lib.store import LocalStore
from tasks import preparation
from tests.toy import SPEC, mirror


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.setitem(DATASETS, "toy", SPEC)
    monkeypatch.setenv("STORE_URI", str(tmp_path / "store"))
    return LocalStore(tmp_path / "store")


@pytest.fixture
def dataset(store: LocalStore, tmp_path: Path) -> Ref:
    return ingest(SPEC, store, mirror(tmp_path / "mirror", 1), lambda *_: None)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The arguments of jobs that are started, in place of their run."""
    started: list[dict[str, object]] = []

    def run_alone(step: str, name: str, runs_on: str, **arguments: object) -> None:
        started.append({"step": step, "name": name, "runs_on": runs_on, **arguments})

    monkeypatch.setattr(preparation, "run_alone", run_alone)
    return started


@pytest.mark.parametrize("limit", [None, 9, 50, 10**9])  # train has 50 rows
def test_what_is_there_is_found_without_a_process(
    store: LocalStore, dataset: Ref, jobs: list[dict[str, object]], limit: int | None
) -> None:
    done = prepare(SPEC, store, dataset, limit)
    assert preparation.prepare_dataset.fn("toy", dataset, limit) == done
    assert jobs == []


@pytest.mark.usefixtures("store")
def test_what_is_not_there_is_made_by_a_job_that_is_told_all_of_the_dataset(
    dataset: Ref, jobs: list[dict[str, object]]
) -> None:
    preparation.prepare_dataset.fn("toy", dataset, 9)
    assert jobs == [{"step": "prepared", "name": "toy", "runs_on": "cpu", "spec": SPEC, "dataset": dataset, "limit": 9}]
