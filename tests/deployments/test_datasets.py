"""Datasets of people's own in deployments: the entries that docs/own-images.md shows, and what follows from them."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from deployments.configuration import FILE, read_configuration
from deployments.datasets import own_names_there, trained_on
from lib.data.own import record
from lib.errors import PermanentError, TransientError
from lib.images.collect import collect, look
from lib.images.own_source import OwnSource
from lib.store import LocalStore
from tests.lib.data.own_images import write_folder

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own-images.md"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """One that knows the dataset flowers."""
    store = LocalStore(tmp_path / "store")
    source = OwnSource(name="flowers", uri=str(write_folder(tmp_path / "own", 12)), px=16)
    record(store, source, collect(source, look(source, tmp_path / "cache"), store, None, lambda count: None))
    return store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """prefect.yaml with the page's entries at its end."""
    (entries,) = re.findall("```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    file = tmp_path / "prefect.yaml"
    file.write_text(f"{FILE.read_text()}\n{entries}")
    return file


def test_the_entries_that_the_docs_show_are_valid_and_start_each_other(file: Path, store: LocalStore) -> None:
    configuration = read_configuration(file, store)
    names = {each.full_name for each in configuration.deployments}
    assert {"ingest/flowers", "train-all/flowers"} <= names
    assert own_names_there(store) == ["flowers"]
    deployed: Any = {name: SimpleNamespace(id=UUID(int=number)) for number, name in enumerate(sorted(names))}
    assert trained_on(configuration, deployed) == {
        name: deployed[f"train-all/{name}"].id for name in ("cifar100", "digits", "fashion-mnist", "flowers")
    }


def test_a_dataset_that_the_store_does_not_know_is_refused_as_it_is_deployed(file: Path, tmp_path: Path) -> None:
    with pytest.raises(
        PermanentError, match=r"^(ingest|train-all)/flowers: unknown dataset 'flowers'; known: cifar100, "
    ):
        read_configuration(file, LocalStore(tmp_path / "another"))


def test_without_its_store_a_machine_deploys_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    class Away:
        def __getattr__(self, name: str) -> object:
            raise TransientError("the store does not answer")

    assert own_names_there(cast(LocalStore, Away())) == []
    assert capsys.readouterr().out == "note: the forms offer built-in datasets alone: the store does not answer\n"
