"""Recipes, and what can be changed in one for a run."""

import json
import math
from types import SimpleNamespace
from typing import Any

import pytest

from lib.data.datasets import DATASETS, by_name
from lib.errors import PermanentError
from lib.lineage.manifests import Ref
from lib.models import counts, recipes
from lib.models.overrides import check_backbone, override
from lib.models.recipes import RECIPES, choose_recipes, find_recipe
from lib.models.schema import Augmentation, Phase, Recipe, model_address

TOY = Recipe(
    name="toy",
    datasets=("digits", "cifar100"),
    description="Two phases.",
    network="softmax",
    phases=(Phase(epochs=3, learning_rate=0.1), Phase(epochs=10, learning_rate=0.01)),
    augmentation=Augmentation(shift_px=2),
)
PREPARED = Ref(uri="prepared/digits/1", sha256="a" * 64)


def test_each_recipe_stands_under_its_name_and_names_known_data_sets() -> None:
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert set(recipe.datasets) <= set(DATASETS), name


def test_each_data_set_has_a_recipe_that_is_no_baseline() -> None:
    for name in DATASETS:
        assert choose_recipes(name, None), name


def test_baselines_are_left_out_unless_asked_for_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    toys = {
        "one": TOY.model_copy(update={"name": "one"}),
        "old": TOY.model_copy(update={"name": "old", "baseline": True}),
        "two": TOY.model_copy(update={"name": "two"}),
        "other": TOY.model_copy(update={"name": "other", "datasets": ("fashion-mnist",)}),
    }
    monkeypatch.setattr(recipes, "RECIPES", toys)

    def names(models: list[str] | None, baselines: bool = False) -> list[str]:
        return [recipe.name for recipe in choose_recipes("digits", models, baselines)]

    assert names(None) == ["one", "two"]
    assert names(None, baselines=True) == ["one", "old", "two"]
    assert names(["old"]) == ["old"]
    assert names(["two", "other", "two"]) == ["two", "other"]


def test_an_unknown_recipe_is_answered_with_the_known_ones() -> None:
    with pytest.raises(PermanentError) as caught:
        find_recipe("resnet8")
    assert str(caught.value) == f"unknown recipe 'resnet8'; known: {', '.join(sorted(RECIPES))}"
    assert "cifar-cnn, cifar-cnn-baseline" in str(caught.value)


@pytest.mark.parametrize(
    "setting", [("learning_rate", "0.5"), ("epochs", "2"), ("deterministic", "false"), ("network", "alexnet")]
)
def test_what_changes_the_model_changes_its_address(setting: tuple[str, str]) -> None:
    changed = override(TOY, None, dict([setting]))
    assert changed.resolved() != TOY.resolved()
    assert model_address("digits", changed, PREPARED, 0) != model_address("digits", TOY, PREPARED, 0)


@pytest.mark.parametrize(
    "change", [{"description": "New words."}, {"datasets": ("digits",)}, {"baseline": True}, {"runs_on": "gpu"}]
)
def test_words_and_places_change_no_address(change: dict[str, object]) -> None:
    changed = TOY.model_copy(update=change)
    assert changed != TOY
    assert changed.resolved() == TOY.resolved()
    assert model_address("digits", changed, PREPARED, 0) == model_address("digits", TOY, PREPARED, 0)


def test_one_number_has_one_address_however_it_is_written() -> None:
    texts = ("1", "1.0", "1e0", '"1"')
    addresses = {model_address("digits", override(TOY, None, {"learning_rate": t}), PREPARED, 0) for t in texts}
    assert len(addresses) == 1


def test_a_resolved_recipe_is_plain_json_and_no_number_in_it_is_infinite() -> None:
    for recipe in RECIPES.values():
        assert json.loads(json.dumps(recipe.resolved(), allow_nan=False)) == recipe.resolved()
        assert all(math.isfinite(phase.learning_rate) for phase in recipe.phases)


def test_the_notebooks_rate_falls_to_a_tenth_in_ten_epochs() -> None:
    (phase,) = RECIPES["fashion-cnn-baseline"].phases
    assert phase.schedule == "decay-per-epoch"
    assert phase.learning_rate * phase.decay_per_epoch**10 == pytest.approx(0.001)


def test_every_recipe_can_be_built() -> None:
    for recipe in RECIPES.values():
        check_backbone(recipe)


def test_younger_settings_are_shown_where_they_are_set() -> None:
    plain, fast = RECIPES["cifar-cnn"].settings(), RECIPES["cifar-fast"].settings()
    assert "both_views" not in plain
    assert not {"averaging", "nesterov", "sizes", "warmup"} & plain["phases"][0].keys()
    assert plain["phases"][0]["trains"] == "all"
    assert fast["both_views"] is True
    assert fast["phases"][0]["sizes"][0] == {
        "epochs": 1,
        "px": 8,
        "augmentation": {"shift_px": 0, "flip": True, "cutout_px": 0},
    }
    assert fast["phases"][0]["averaging"] == 0.98


def test_counting_all_networks_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        counts.make_parser().parse_args(["--help"])
    assert ended.value.code == 0
    assert "This takes half a minute" in capsys.readouterr().out


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_no_description_says_what_a_run_can_change(recipe: Recipe) -> None:
    assert "ImageNet" not in recipe.description, "--weights changes it"


def test_a_model_of_fewer_rows_or_another_recipe_is_a_try() -> None:
    recipe = RECIPES["digits-cnn"]

    def model(made_by: Recipe, limit: int | None = None) -> Any:
        return SimpleNamespace(facts={"recipe": made_by.resolved(), "limit": limit})

    assert not recipes.is_try(model(recipe))
    for other in (
        model(recipe, 100),
        model(override(recipe, 2, {})),
        model(override(recipe, None, {"dropout": "0.1"})),
    ):
        assert recipes.is_try(other)


def test_two_recipes_of_one_name_are_refused() -> None:
    with pytest.raises(PermanentError, match=r"^recipes must have a name each of its own; two are called digits-cnn"):
        by_name("recipes", [*RECIPES.values(), RECIPES["digits-cnn"]])
