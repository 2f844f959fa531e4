"""The name of a run says whatever its request does otherwise than the defaults."""

from typing import Any

import pytest

from lib.planning.plan import make_plan
from lib.planning.request import ModelRequest, TrainingRequest
from lib.planning.titles import asked, run_title


@pytest.mark.parametrize(
    ("request_for", "title"),
    [
        ({}, "train all on digits"),
        ({"seed": 7}, "train all on digits, seed 7"),
        ({"limit": 10**6}, "train all on digits"),
        ({"epochs": 1, "limit": 200}, "train all on digits, at most 1 epoch, 200 training images only"),
        (
            {"models": ["digits-cnn"], "epochs": 2, "overrides": {"batch_size": "32", "dropout": "0.1"}},
            "train digits-cnn on digits, at most 2 epochs, batch_size=32, dropout=0.1",
        ),
        (
            {"dataset": "cifar100", "models": ["mobilenet"], "weights": ["imagenet", "none"]},
            "train mobilenet, mobilenet (weights: none) on cifar100",
        ),
        ({"dataset": "cifar100", "baselines": True}, "train all on cifar100, with baselines"),
    ],
)
def test_a_title_says_what_differs(request_for: dict[str, Any], title: str) -> None:
    assert run_title(make_plan(TrainingRequest(**request_for))) == title


def test_the_run_of_one_model_is_named_as_that_of_all() -> None:
    request = ModelRequest(model="densenet121", dataset="cifar100", weights="none", seed=3)
    assert run_title(make_plan(request.alone())) == "train densenet121 (weights: none) on cifar100, seed 3"


def test_a_fresh_seed_is_said_as_the_number_that_it_comes_to() -> None:
    (said,) = asked(make_plan(TrainingRequest(seed="fresh")))
    assert said.startswith("seed 2")


def test_a_title_is_cut_where_it_is_too_long_for_a_list() -> None:
    title = run_title(make_plan(TrainingRequest(overrides={"batch_size": "7" * 4})))
    assert title.endswith("batch_size=7777")
    many = {f"phases.0.{name}": value for name, value in {"learning_rate": "0." + "1" * 300}.items()}
    assert len(run_title(make_plan(TrainingRequest(models=["digits-cnn"], overrides=many)))) == 200
