"""What a run is asked to do, and what of it is done already."""

from pathlib import Path
from typing import Any

import pytest

from lib.data.datasets import DATASETS, dataset_address, prepared_address
from lib.errors import PermanentError
from lib.lineage.manifests import Ref, commit
from lib.models import recipes
from lib.models.schema import Backbone, Phase, Recipe, model_address
from lib.planning.outputs import check_prepared, find_evaluation, find_prepared, find_report
from lib.planning.plan import Plan, make_plan
from lib.planning.request import TrainingRequest, read_request
from lib.store import LocalStore
from tests.whole import whole_manifest

from .made import duplicates_address, evaluation_address, report_address

TOYS = {
    name: Recipe(
        name=name,
        datasets=("digits",),
        description="",
        network="softmax",
        phases=(Phase(epochs=8, learning_rate=0.1),),
        baseline=name == "old",
    )
    for name in ("one", "two", "old")
}


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "RECIPES", TOYS)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def put(store: LocalStore, kind: Any, address: str) -> Ref:
    """A finished output at `address`, empty."""
    return commit(store, address, whole_manifest(kind, address))


def planned(**request: Any) -> Plan:
    return make_plan(read_request(TrainingRequest, request))


def names(plan: Plan) -> list[str]:
    return [recipe.name for recipe in plan.recipes]


def test_a_plan_has_the_data_sets_own_recipes_and_baselines_when_asked() -> None:
    assert names(planned()) == ["one", "two"]
    assert names(planned(baselines=True)) == ["one", "two", "old"]
    assert names(planned(models=["old"])) == ["old"]


def test_a_plan_holds_what_was_asked_resolved() -> None:
    plan = planned(models=["two"], epochs=3, limit=10, seed=7, overrides={"batch_size": "32"})
    assert (plan.dataset, plan.limit, plan.seeds) == (DATASETS["digits"], 10, (7,))
    assert plan.recipes == (
        TOYS["two"].model_copy(update={"phases": (Phase(epochs=3, learning_rate=0.1),), "batch_size": 32}),
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"dataset": "mnist"},
            f"unknown dataset 'mnist'; known: {', '.join(sorted(DATASETS))}; to add your own images: python -m "
            "flows.ingest --from FOLDER --name NAME",
        ),
        ({"models": ["resnet8"]}, "unknown recipe 'resnet8'; known: old, one, two"),
        ({"epochs": 0}, "the request is not valid: epochs: Input should be greater than or equal to 1; received 0"),
        ({"limit": -5}, "the request is not valid: limit: Input should be greater than or equal to 1; received -5"),
        ({"limit": 9}, "limit (--limit N) must be at least 10, one row of each class of digits; received 9"),
        (
            {"dataset": "cifar100", "models": ["one"], "limit": 99},
            "limit (--limit N) must be at least 100, one row of each class of cifar100; received 99",
        ),
        (
            {"promote": True, "limit": 100},
            "promote (--promote) is for models of all images; received limit (--limit) 100: leave one out",
        ),
        ({"seed": -1}, "seed (--seed N) must be 'fresh' or from 0 to 4294967295; received -1"),
        ({"seed": 2**32}, "seed (--seed N) must be 'fresh' or from 0 to 4294967295; received 4294967296"),
        (
            {"seed": 2**32 - 2, "seeds": 3},
            "seed (--seed N) must be 'fresh' or from 0 to 4294967295; received 4294967294 with 3 seeds",
        ),
        (
            {"overrides": {"learning_rate": "0"}},
            "recipe one is not valid: phases.0.learning_rate: Input should be greater than 0; received 0",
        ),
        (
            {"overrides": {"nothing": "1"}},
            "overrides (--set KEY=VALUE) must name fields of a recipe; received 'nothing'; known: augmentation, "
            "averaging, backbone, batch_size, beside, both_views, class_weight, decay_per_epoch, deterministic, "
            "dropout, early_stopping_epochs, early_stopping_on, epochs, keep, label_smoothing, learning_rate, "
            "momentum, nesterov, network, optimizer, phases, precision, schedule, sizes, stream_above_mb, trains, "
            "warmup, weight_decay",
        ),
        (
            {"overrides": {"augmentation.shift_px": "32"}},
            "recipe one: augmentation.shift_px must be less than 32, the side of an image of digits; received 32",
        ),
        (
            {"overrides": {"augmentation.cutout_px": "1000"}},
            "recipe one: augmentation.cutout_px must be less than 32, the side of an image of digits; received 1000",
        ),
        (
            {"epochs": 10**20},
            f"recipe one is not valid: epochs: Input should be less than or equal to 10000; received {10**20}",
        ),
        (
            {"dataset": "fashion-mnist"},
            "no recipe names dataset 'fashion-mnist'; choose some: --models NAME [NAME …]",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_what_cannot_be_done_is_refused_with_the_rule(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(PermanentError) as caught:
        planned(**asked)
    assert str(caught.value) == message


def test_a_limit_of_one_row_a_class_is_taken() -> None:
    assert planned(limit=10).limit == 10


@pytest.mark.parametrize("limit", [1293, 1294, 10**20])  # 1,437 rows, 144 of them for validation
def test_a_limit_of_all_rows_is_none_and_has_the_full_runs_key(store: LocalStore, limit: int) -> None:
    plan = planned(limit=limit)
    assert plan.limit is None
    dataset = put(store, "dataset", dataset_address(plan.dataset))
    prepared = put(store, "prepared", prepared_address(plan.dataset, dataset, None))
    assert find_prepared(store, plan.dataset, limit) == prepared
    assert planned(limit=1292).limit == 1292
    assert find_prepared(store, plan.dataset, 1292) is None


def test_a_setting_that_some_recipes_have_changes_those_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with_backbones(monkeypatch)
    plan = planned(models=["one", "fine", "other"], overrides={"backbone.image_px": "96", "label_smoothing": "0.5"})
    assert [recipe.backbone and recipe.backbone.image_px for recipe in plan.recipes] == [None, 96, 96]
    assert [recipe.label_smoothing for recipe in plan.recipes] == [0.5, 0.5, 0.5]
    assert plan.notes == ("--set backbone.image_px applies to fine, other; not to one",)
    one, fine, _ = (plan.request_for(trial, Ref(uri="prepared/digits/1", sha256="a" * 64)) for trial in plan.trials)
    assert one.overrides == {"label_smoothing": "0.5"}
    assert fine.overrides == {"backbone.image_px": "96", "label_smoothing": "0.5"}
    assert [make_plan(request.alone()).recipes[0] for request in (one, fine)] == list(plan.recipes[:2])


def prepared_of(store: LocalStore, kind: str = "prepared", **facts: Any) -> Ref:
    address = f"{kind}/digits/{len(store.list(kind)):016}"
    return commit(store, address, whole_manifest(kind, address, facts=facts))


def test_prepared_data_that_a_run_is_given_must_be_what_it_asks_for(store: LocalStore) -> None:
    whole = prepared_of(store, dataset="digits", limit=None, rows={"train": 1293})
    limited = prepared_of(store, dataset="digits", limit=20, rows={"train": 20})
    check_prepared(store, planned(), whole)
    check_prepared(store, planned(limit=5_000), whole)
    check_prepared(store, planned(limit=20), limited)
    for plan, ref, received in (
        (planned(), limited, "prepared of digits with limit 20"),
        (planned(limit=20), whole, "prepared of digits with limit None"),
        (
            planned(),
            prepared_of(store, dataset="toy", limit=None, rows={"train": 9}),
            "prepared of toy with limit None",
        ),
        (planned(), prepared_of(store, "model", dataset="digits"), "model of digits with limit None"),
        (planned(), prepared_of(store, "weights"), "weights of None with limit None"),
    ):
        with pytest.raises(
            PermanentError, match=f"^prepared must be a ref of prepared .* is {received}: leave it empty"
        ):
            check_prepared(store, plan, ref)
    with pytest.raises(PermanentError, match="is not what was asked for: expected sha256 000"):
        check_prepared(store, planned(), Ref(uri=whole.uri, sha256="0" * 64))
    with pytest.raises(PermanentError, match="nothing finished lies at prepared/x/1"):
        check_prepared(store, planned(), Ref(uri="prepared/x/1", sha256="0" * 64))


def test_another_learning_rate_is_another_model_on_the_same_prepared_data(store: LocalStore) -> None:
    plain, faster = planned(), planned(overrides={"learning_rate": "0.5"})
    put(store, "dataset", dataset_address(plain.dataset))
    dataset = put(store, "dataset", dataset_address(faster.dataset))
    prepared = put(store, "prepared", prepared_address(plain.dataset, dataset, None))
    assert (
        find_prepared(store, plain.dataset, plain.limit)
        == find_prepared(store, faster.dataset, faster.limit)
        == prepared
    )
    assert model_address("digits", plain.recipes[0], prepared, 0) != model_address(
        "digits", faster.recipes[0], prepared, 0
    )


def test_prepared_data_are_found_for_their_limit_alone(store: LocalStore) -> None:
    plan = planned(limit=20)
    assert find_prepared(store, plan.dataset, plan.limit) is None
    dataset = put(store, "dataset", dataset_address(plan.dataset))
    assert find_prepared(store, plan.dataset, plan.limit) is None
    prepared = put(store, "prepared", prepared_address(plan.dataset, dataset, 20))
    assert find_prepared(store, plan.dataset, plan.limit) == prepared
    assert find_prepared(store, plan.dataset, 30) is None
    assert find_prepared(store, plan.dataset, None) is None


def test_a_report_is_found_once_each_models_evaluation_and_it_are_there(store: LocalStore) -> None:
    plan = planned(seed=5)
    assert find_report(store, plan, allow_cpu=False) is None
    dataset = put(store, "dataset", dataset_address(plan.dataset))
    prepared = put(store, "prepared", prepared_address(plan.dataset, dataset, None))
    evaluations = []
    for trial in plan.trials:
        recipe = trial.recipe
        assert find_evaluation(store, plan, trial, prepared) is None
        model = put(store, "model", model_address("digits", recipe, prepared, 5))
        assert find_evaluation(store, plan, trial, prepared) is None
        evaluations.append(
            put(
                store,
                "evaluation",
                evaluation_address(recipe.name, model),
            )
        )
        assert find_evaluation(store, plan, trial, prepared) == evaluations[-1]
        assert find_report(store, plan, allow_cpu=False) is None
    put(store, "report", report_address(prepared, evaluations))
    assert find_report(store, plan, allow_cpu=False) is None, "near duplicates were not looked for"
    duplicates = put(store, "duplicates", duplicates_address(prepared))
    assert find_report(store, plan, allow_cpu=False) is None
    report = put(store, "report", report_address(prepared, evaluations, (), duplicates))
    assert find_report(store, plan, allow_cpu=False) == report
    assert find_report(store, planned(seed=6), allow_cpu=False) is None
    assert find_report(store, planned(seed=5, models=["one"]), allow_cpu=False) is None


def with_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"network": "dense-1024", "backbone": Backbone(name="mobilenet", image_px=32)}
    other = {"name": "other", "backbone": Backbone(name="resnet50", image_px=32)}
    more = {"fine": TOYS["one"].model_copy(update=fields | {"name": "fine"})}
    more["other"] = more["fine"].model_copy(update=other)
    monkeypatch.setattr(recipes, "RECIPES", TOYS | more)


def test_weights_replace_those_that_backbones_start_from(monkeypatch: pytest.MonkeyPatch) -> None:
    with_backbones(monkeypatch)
    plan = planned(models=["one", "fine", "other"], weights="none")
    assert [recipe.title for recipe in plan.recipes] == ["one", "fine (weights: none)", "other (weights: none)"]
    assert names(planned(models=["fine"])) == ["fine"]


def test_several_weights_train_each_backbone_from_each(monkeypatch: pytest.MonkeyPatch) -> None:
    with_backbones(monkeypatch)
    plan = planned(models=["one", "fine"], weights=["imagenet", "none"])
    assert [recipe.title for recipe in plan.recipes] == ["one", "fine", "fine (weights: none)"]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["one"], "--weights is for recipes with a backbone; received one"),
        (["fine", "other"], "--weights my.h5 fits one backbone; received recipes with mobilenet, resnet50: choose"),
    ],
)
def test_weights_that_fit_nothing_are_refused(models: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_backbones(monkeypatch)
    with pytest.raises(PermanentError) as caught:
        planned(models=models, weights="my.h5")
    assert str(caught.value).startswith(message)
