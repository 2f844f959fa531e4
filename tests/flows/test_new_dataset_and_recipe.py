"""One literal each adds a dataset and a model: everything else follows."""

from pathlib import Path

import pytest

from flows.train import train_all
from lib.data.datasets import DATASETS
from lib.models.recipes import RECIPES
from lib.store import LocalStore
from tests.toy import RECIPE, SPEC, mirror

from .test_train import refs


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "toy", SPEC)
    monkeypatch.setitem(RECIPES, "toy-softmax", RECIPE)


@pytest.mark.slow
@pytest.mark.usefixtures("toy")
def test_a_new_data_set_and_recipe_run_end_to_end_and_a_repacked_mirror_gives_equal_refs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = []
    for packed_at in (1, 2_000_000):
        store = tmp_path / f"store-{packed_at}"
        monkeypatch.setenv("STORE_URI", str(store))
        monkeypatch.setenv("MIRROR_URL", mirror(tmp_path / f"mirror-{packed_at}", packed_at))
        report = train_all("toy")
        assert report.uri.startswith("reports/toy/")
        stores.append(store)
    first, second = (next(s.glob("raw/toy/train-images-*.gz")).read_bytes() for s in stores)
    assert first != second
    found = refs(LocalStore(stores[0]))
    assert found == refs(LocalStore(stores[1]))
    assert sorted(address.split("/")[0] for address in found) == [
        "datasets", "duplicates", "evaluations", "models", "prepared", "reports",
    ]  # fmt: skip
    assert any(address.startswith("models/toy/toy-softmax/") for address in found)
