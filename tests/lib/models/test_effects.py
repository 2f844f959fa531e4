"""A setting that would change nothing of a model is refused: it would give the same model another address."""

from typing import Any

import pytest

from lib.errors import PermanentError
from lib.models.effects import FIXED_DROPOUT, OF_A_PHASE, OF_A_RECIPE, lacks
from lib.models.overrides import override
from lib.models.recipes import RECIPES
from lib.models.schema import HEAD_UNITS, IMAGE_NETWORKS, NETWORKS, Backbone, Phase, Recipe
from lib.planning.plan import make_plan
from lib.planning.request import TrainingRequest

ALWAYS_COUNT = {"epochs", "optimizer", "learning_rate", "averaging", "sizes"}, {
    "backbone", "beside", "network", "batch_size", "augmentation", "label_smoothing", "both_views", "class_weight",
    "early_stopping_epochs", "keep", "deterministic", "stream_above_mb",
}  # fmt: skip
"""Fields of a phase, and of a recipe; where some of these go together with none of the other fields, a rule says so."""
NOT_IN_THE_KEY = {"name", "datasets", "description", "runs_on", "baseline"}


def test_of_each_setting_it_is_known_when_it_counts() -> None:
    assert set(Phase.model_fields) == ALWAYS_COUNT[0] | set(OF_A_PHASE)
    assert set(Recipe.model_fields) == ALWAYS_COUNT[1] | set(OF_A_RECIPE) | NOT_IN_THE_KEY | {"phases"}


WITHOUT_EFFECT: list[tuple[str, dict[str, str], str]] = [
    ("digits-softmax", {"weight_decay": "0.1"}, "weight_decay does so only with optimizer adamw or sgd"),
    ("digits-softmax", {"phases.0.weight_decay": "0.1"}, "phases.0.weight_decay does so only with optimizer adamw or"),
    ("digits-softmax", {"momentum": "0.5"}, "momentum does so only with optimizer sgd"),
    ("digits-cnn", {"momentum": "0.5"}, "momentum does so only with optimizer sgd"),
    ("digits-cnn", {"nesterov": "true"}, "nesterov does so only with optimizer sgd and momentum"),
    ("digits-cnn", {"optimizer": "sgd", "momentum": "0", "nesterov": "true"}, "nesterov does so only with optimizer s"),
    ("digits-cnn", {"optimizer": "adam", "weight_decay": "0.1"}, "weight_decay does so only with optimizer adamw or s"),
    ("digits-softmax", {"warmup": "0.5"}, "warmup does so only with schedule warmup-cosine"),
    ("digits-cnn", {"decay_per_epoch": "0.5"}, "decay_per_epoch does so only with schedule decay-per-epoch"),
    ("digits-softmax", {"schedule": "decay-per-epoch"}, "schedule does so only with a decay_per_epoch below 1"),
    ("digits-softmax", {"dropout": "0.5"}, "dropout does so only with a network whose dropout is not fixed"),
    ("digits-cnn", {"network": "softmax", "dropout": "0.5"}, "dropout does so only with a network whose dropout is n"),
    ("digits-cnn", {"precision": "mixed_float16"}, "precision does so only with a recipe that runs on a GPU"),
    ("digits-cnn", {"trains": "all"}, "trains does so only with a backbone that is trained"),
    ("mobilenet-frozen", {"trains": "head"}, "trains does so only with a backbone that is trained"),
    ("digits-cnn", {"early_stopping_on": "accuracy"}, "early_stopping_on does so only with early_stopping_epochs"),
    (
        "digits-softmax",
        {"phases": '[{"epochs": 2, "optimizer": "adam", "learning_rate": 0.1, "momentum": 0.5}]'},
        "phases does so only with optimizer sgd (for momentum)",
    ),
]


@pytest.mark.parametrize(("name", "settings", "says"), WITHOUT_EFFECT)
def test_a_setting_that_changes_nothing_is_refused_with_what_it_needs(
    name: str, settings: dict[str, str], says: str
) -> None:
    with pytest.raises(PermanentError) as error:
        override(RECIPES[name], None, settings)
    assert str(error.value).startswith(f"overrides (--set KEY=VALUE) must change something; {says}")
    assert str(error.value).endswith(f", which {name} has not: leave it out, or set what it needs")
    with pytest.raises(PermanentError, match=r"^overrides \(--set KEY=VALUE\) must change something; "):
        make_plan(TrainingRequest(dataset=RECIPES[name].datasets[0], models=[name], overrides=settings))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("digits-softmax", {"optimizer": "sgd", "momentum": "0.5", "weight_decay": "0.1", "nesterov": "true"}),
        ("digits-softmax", {"weight_decay": "0.1", "optimizer": "adamw"}),
        ("digits-softmax", {"schedule": "decay-per-epoch", "decay_per_epoch": "0.5"}),
        ("digits-softmax", {"schedule": "warmup-cosine", "warmup": "0.5"}),
        ("digits-softmax", {"network": "digits-cnn", "dropout": "0.5"}),
        ("digits-cnn-gpu", {"precision": "float32"}),
        ("mobilenet", {"phases.0.trains": "all"}),
        ("mobilenet", {"phases.1.optimizer": "sgd", "momentum": "0.5"}),
    ],
)
def test_a_setting_counts_beside_what_it_needs(name: str, settings: dict[str, str]) -> None:
    assert override(RECIPES[name], None, settings).resolved() != RECIPES[name].resolved()


def test_a_setting_is_given_to_those_recipes_of_which_it_changes_something() -> None:
    models = ["digits-cnn", "digits-softmax"]
    plan = make_plan(TrainingRequest(dataset="digits", models=models, overrides={"weight_decay": "0.1"}))
    assert plan.notes == ("--set weight_decay applies to digits-cnn; not to digits-softmax",)
    changed, same = plan.recipes
    assert changed.phases[0].weight_decay == 0.1
    assert same == RECIPES["digits-softmax"]


@pytest.mark.parametrize(
    ("field", "values", "phase"),
    [
        ("momentum", (0.1, 0.5), {}),
        ("nesterov", (False, True), {}),
        ("weight_decay", (0.1, 0.5), {}),
        ("warmup", (0.1, 0.5), {}),
        ("decay_per_epoch", (0.1, 0.5), {}),
        ("schedule", ("constant", "decay-per-epoch"), {"decay_per_epoch": 1.0}),
    ],
)
def test_the_optimizer_takes_no_notice_of_what_does_not_count(
    field: str, values: tuple[Any, Any], phase: dict[str, Any]
) -> None:
    from lib.training.optimizers import make_optimizer

    for optimizer in ("adam", "adamw", "sgd"):
        for schedule in ("constant", "warmup-cosine", "decay-per-epoch"):
            shared = {"epochs": 4, "learning_rate": 0.1, "optimizer": optimizer, "schedule": schedule, **phase}
            phases = [Phase.model_validate({**shared, field: value}) for value in values]
            recipe = Recipe(name="toy", datasets=(), description="", network="softmax", phases=tuple(phases))
            if not any(OF_A_PHASE[field][0](recipe, each) for each in phases):
                first, second = (make_optimizer(each, 10) for each in phases)
                assert settings_of(first) == settings_of(second)


def settings_of(optimizer: Any) -> list[Any]:
    """All that it is, and its rate at each step of 4 epochs of 10 steps."""
    config = optimizer.get_config()
    rate = optimizer._learning_rate
    rates = [float(rate(step)) if callable(rate) else float(rate) for step in range(40)]
    return [{name: value for name, value in config.items() if name not in {"learning_rate", "name"}}, rates]


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_network_takes_the_recipes_dropout_unless_its_own_is_fixed(name: str) -> None:
    from keras import layers

    from lib.models.networks import build, build_head

    phases, dropout = (Phase(epochs=1, learning_rate=0.1),), 0.123
    frozen = Backbone(name="mobilenet", image_px=32, frozen=True) if name in HEAD_UNITS else None
    recipe = Recipe(
        name="toy", datasets=(), description="", network=name, phases=phases, dropout=dropout, backbone=frozen
    )
    network = build_head(recipe, 8, 2) if frozen else build(recipe, (32, 32, 3), 2)
    rates = [layer.rate for layer in network.layers if isinstance(layer, layers.Dropout)]
    assert (dropout in rates) == (name not in FIXED_DROPOUT)
    assert bool(lacks(recipe, "dropout")) == (name in FIXED_DROPOUT)
    assert {*FIXED_DROPOUT, *IMAGE_NETWORKS} <= NETWORKS
