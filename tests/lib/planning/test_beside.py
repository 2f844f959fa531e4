"""What a request asks for besides evaluations: it is planned, found, and done once it is there."""

from pathlib import Path
from typing import Any

import pytest

from lib.data.datasets import DATASETS, dataset_address, prepared_address
from lib.lineage.manifests import Ref, commit
from lib.lineage.steps import STEPS
from lib.models import recipes
from lib.models.schema import Phase, Recipe, model_address
from lib.planning.outputs import find_beside, find_report, is_complete
from lib.planning.plan import Plan, make_plan
from lib.planning.preview import preview
from lib.planning.request import TrainingRequest
from lib.store import LocalStore
from tests.whole import whole_manifest

from .made import duplicates_address, evaluation_address, report_address

DIGITS = DATASETS["digits"]
LINEAR = Recipe(
    name="linear", datasets=("digits",), description="", network="softmax", phases=(Phase(epochs=4, learning_rate=0.1),)
)
ON_GPU = LINEAR.model_copy(update={"name": "on-gpu", "runs_on": "gpu"})
STEP = "measure robustness of linear"


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "RECIPES", {recipe.name: recipe for recipe in (LINEAR, ON_GPU)})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")


class Made:
    """A store in which the models named are trained and evaluated."""

    def __init__(self, folder: Path, *models: Recipe) -> None:
        self.store = LocalStore(folder)
        dataset = self.put("dataset", dataset_address(DIGITS))
        facts = {"limit": None, "rows": {"train": 100, "validation": 10, "test": 20}}
        self.prepared = self.put("prepared", prepared_address(DIGITS, dataset, None), facts=facts)
        self.duplicates = self.put("duplicates", duplicates_address(self.prepared))
        self.models = [self.put("model", model_address("digits", each, self.prepared, 0)) for each in models]
        self.evaluations = [
            self.put(
                "evaluation",
                evaluation_address(recipe.name, model),
                inputs={"model": model, "prepared": self.prepared},
                facts={"dataset": "digits", "recipe": recipe.name},
            )
            for recipe, model in zip(models, self.models, strict=True)
        ]

    def put(self, kind: str, address: str, **parts: Any) -> Ref:
        return commit(self.store, address, whole_manifest(kind, address, **parts))

    def report(self, *beside: Ref) -> Ref:
        return self.put("report", report_address(self.prepared, self.evaluations, (), self.duplicates, *beside))

    def told(self, plan: Plan) -> dict[str, str]:
        return {line.name: line.state for line in preview(self.store, plan, allow_cpu=False)}


def planned(robustness: bool, *models: str) -> Plan:
    return make_plan(TrainingRequest(models=list(models), robustness=robustness))


def test_robustness_is_planned_and_made_only_for_who_asks_and_a_report_with_it_is_another(tmp_path: Path) -> None:
    made, without, asking = Made(tmp_path, LINEAR), planned(False, "linear"), planned(True, "linear")
    assert STEP not in made.told(without)
    plain = made.report()
    assert find_report(made.store, without, allow_cpu=False) == plain
    assert find_report(made.store, asking, allow_cpu=False) is None
    assert made.told(asking)[STEP] == made.told(asking)["report on digits"] == "would run"
    assert not is_complete(made.store, asking.request, made.evaluations[0])
    names = {"dataset_name": "digits", "recipe_name": "linear"}
    robust = made.put("robustness", STEPS["robustness"].address(**names, model=made.models[0]))
    assert find_beside(made.store, asking.request, made.evaluations) == [robust]
    assert find_beside(made.store, without.request, made.evaluations) == []
    assert is_complete(made.store, asking.request, made.evaluations[0])
    assert find_report(made.store, asking, allow_cpu=False) is None, "its report is not there yet"
    assert (made.told(asking)[STEP], made.told(asking)["report on digits"]) == ("done", "would run")
    shown = made.report(robust)
    assert find_report(made.store, asking, allow_cpu=False) == shown != plain
    assert set(made.told(asking).values()) == {"done"}
    assert find_report(made.store, without, allow_cpu=False) == plain


def test_what_a_model_of_a_gpu_lacks_is_left_out_where_there_is_none(tmp_path: Path) -> None:
    made, asking = Made(tmp_path, ON_GPU), planned(True, "on-gpu")
    assert made.told(asking)["measure robustness of on-gpu"] == "left out"
    assert find_report(made.store, asking, allow_cpu=False) is None
    report = made.report()
    assert find_report(made.store, asking, allow_cpu=False) == report
    assert find_report(made.store, asking, allow_cpu=True) is None, "there it would be measured"


def test_what_train_model_is_asked_by_train_all_has_it() -> None:
    plan = planned(True, "linear")
    request = plan.request_for(plan.trials[0], Ref(uri="prepared/digits/x", sha256="0" * 64))
    assert request.robustness
    assert request.alone().robustness
