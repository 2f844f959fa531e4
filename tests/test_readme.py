"""The README says what the code has."""

from pathlib import Path

import pytest

from lib.data.datasets import DATASETS
from lib.models.counts import read_counts
from lib.models.recipes import RECIPES

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()
ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in README.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_has_a_row_with_its_data_sets_and_its_size(name: str) -> None:
    recipe = RECIPES[name]
    (row,) = (row for row in ROWS if row[0] == f"`{name}`" and len(row) == 5)
    sizes = [f"{read_counts()[dataset][name].parameters:,}" for dataset in recipe.datasets]
    assert row[1] == ", ".join(f"`{dataset}`" for dataset in recipe.datasets)
    assert row[3] == ", ".join(dict.fromkeys(sizes))
    assert row[4] == ("GPU" if recipe.runs_on == "gpu" else "CPU")


@pytest.mark.parametrize("name", DATASETS)
def test_each_data_set_has_a_row_with_its_shape(name: str) -> None:
    (row,) = (row for row in ROWS if row[0] == f"`{name}`" and "×" in row[1])
    assert row[1] == "×".join(map(str, DATASETS[name].image_shape))
