"""What can be changed in a recipe for one run."""

import json

import pytest

from lib.errors import PermanentError
from lib.models.overrides import override, settings_for
from lib.models.recipes import RECIPES
from lib.models.schema import Augmentation

from .test_recipes import TOY


@pytest.mark.parametrize(("epochs", "expected"), [(1, [1, 1]), (5, [3, 5]), (10, [3, 10]), (99, [3, 10])])
def test_epochs_cap_each_phase(epochs: int, expected: list[int]) -> None:
    changed = override(TOY, epochs, {})
    assert [phase.epochs for phase in changed.phases] == expected
    assert changed.epochs == sum(expected)


def test_nothing_overridden_is_the_recipe_itself() -> None:
    assert override(TOY, None, {}) == TOY


def test_a_field_of_a_phase_is_set_in_every_phase() -> None:
    changed = override(TOY, None, {"learning_rate": "5e-4", "optimizer": "sgd"})
    assert [phase.learning_rate for phase in changed.phases] == [0.0005, 0.0005]
    assert [phase.optimizer for phase in changed.phases] == ["sgd", "sgd"]
    assert [phase.epochs for phase in changed.phases] == [3, 10]


def test_a_dotted_path_sets_one_place() -> None:
    changed = override(TOY, None, {"phases.1.learning_rate": "1", "augmentation.flip": "true"})
    assert [phase.learning_rate for phase in changed.phases] == [0.1, 1.0]
    assert changed.augmentation == Augmentation(shift_px=2, flip=True)


def test_a_field_of_the_recipe_is_json_or_text() -> None:
    changed = override(TOY, None, {"batch_size": "64", "deterministic": "false", "early_stopping_epochs": "7"})
    assert (changed.batch_size, changed.deterministic, changed.early_stopping_epochs) == (64, False, 7)
    assert override(changed, None, {"early_stopping_epochs": "null"}).early_stopping_epochs is None


def test_the_epoch_that_is_kept_and_early_stopping_watch_the_same_figure() -> None:
    both = {"keep": "best", "early_stopping_epochs": "7"}
    with pytest.raises(PermanentError) as error:
        override(TOY, None, both)
    assert str(error.value) == (
        "recipe toy: keep=best keeps the epoch of the highest validation accuracy, and early stopping must watch the "
        "same figure; received early_stopping_on=loss: --set early_stopping_on=accuracy, or --set keep=last"
    )
    assert override(TOY, None, {**both, "early_stopping_on": "accuracy"}).keep == "best"
    for recipe in RECIPES.values():
        assert override(recipe, None, {}) == recipe


def test_epochs_cap_what_was_set() -> None:
    changed = override(TOY, 4, {"epochs": "6", "phases.0.epochs": "2"})
    assert [phase.epochs for phase in changed.phases] == [2, 4]


@pytest.mark.parametrize(
    ("general", "special"),
    [
        ({"epochs": "6"}, {"phases.0.epochs": "2"}),
        ({"phases": '[{"epochs": 6, "learning_rate": 0.5}]'}, {"learning_rate": "0.1"}),
        ({"augmentation": '{"shift_px": 1}'}, {"augmentation.shift_px": "3"}),
    ],
    ids=["a phase", "phases", "an augmentation"],
)
def test_of_two_settings_the_one_for_less_counts_in_whatever_order_they_come(
    general: dict[str, str], special: dict[str, str]
) -> None:
    one, other = override(TOY, None, general | special), override(TOY, None, special | general)
    assert one == other == override(override(TOY, None, general), None, special)


def test_what_is_set_leaves_the_recipe_as_it_was() -> None:
    before = TOY.model_dump()
    override(TOY, 1, {"augmentation.flip": "true", "learning_rate": "9"})
    assert TOY.model_dump() == before


@pytest.mark.parametrize(
    "key",
    [
        *["name", "datasets", "datasets.0", "learning_rte", "augmentation.zoom", "phases.2.learning_rate"],
        *["phases.0.nothing", "phases.first.epochs", "batch_size.x", "network.s", "early_stopping_epochs.x", ""],
        *[".", "phases.0", "augmentation.", "phases.-1.epochs", "phases.01.epochs", "phases.1_0.epochs"],
        *["description", "baseline", "runs_on", "phases.١.epochs", "backbone.image_px", "description.x", "\0", "a\nb"],
    ],
)
def test_an_unknown_key_is_answered_with_the_known_ones(key: str) -> None:
    with pytest.raises(PermanentError) as caught:
        override(TOY, None, {key: "1"})
    message = str(caught.value)
    assert message.startswith(
        f"overrides (--set KEY=VALUE) must name fields of a recipe; received {key!r}; known: augmentation, "
    )
    known = message.split("known: ")[1].split(", ")
    assert {"batch_size", "dropout", "learning_rate", "weight_decay"} <= set(known)
    assert not {"name", "datasets", "description", "baseline", "runs_on"} & set(known)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("key", "value", "place", "received"),
    [
        ("learning_rate", "-1", "phases.0.learning_rate: Input should be greater than 0", "received -1"),
        ("learning_rate", "1e999", "phases.0.learning_rate: Input should be a finite number", "received inf"),
        ("weight_decay", "NaN", "phases.0.weight_decay: Input should be a finite number", "received nan"),
        ("optimizer", "rmsprop", "phases.0.optimizer: Input should be 'adam', 'adamw' or 'sgd'", "received 'rmsprop'"),
        ("batch_size", "many", "batch_size: Input should be a valid integer", "received 'many'"),
        ("dropout", "1", "dropout: Input should be less than 1", "received 1"),
        (
            "augmentation.shift_px",
            "-2",
            "augmentation.shift_px: Input should be greater than or equal",
            "received -2",
        ),
        ("epochs", "lots", "phases.0.epochs: Input should be a valid integer", "received 'lots'"),
        ("phases", "[]", "phases: a recipe must have at least one phase", "received []"),
        ("phases", "3", "phases: Input should be a valid tuple", "received 3"),
        ("phases", '[{"epochs": 1}]', "phases.0.learning_rate: Field required", "received {'epochs': 1}"),
        ("phases", json.dumps([{"epochs": 1, "learning_rate": 1}] * 21), "phases: a recipe must have at most 20", "…"),
        ("phases", json.dumps([0] * 1000), "phases.0: Input should be a valid dictionary", "received 0"),
        ("phases", json.dumps([{"a\nb" * 999: 1}]), "phases.0.epochs: Field required", "received 1"),
        ("batch_size", "1000000000000", "batch_size: Input should be less than or equal to 65536", "1000000000000"),
        (
            "epochs",
            "1" + "0" * 20,
            "phases.0.epochs: Input should be less than or equal to 10000",
            "received 1" + "0" * 20,
        ),
        (
            "early_stopping_epochs",
            "1e9",
            "early_stopping_epochs: Input should be less than or",
            "received 1000000000.0",
        ),
        ("augmentation.shift_px", "1000000000", "augmentation.shift_px: Input should be less than or", "1000000000"),
        ("augmentation.cutout_px", "1000000000", "augmentation.cutout_px: Input should be less than or", "1000000000"),
        ("augmentation", "x" * 5000, "augmentation: Input should be a valid dictionary", f"received '{'x' * 99}…"),
        (
            "network",
            "nope",
            "network: unknown network; known: alexnet, cifar-cnn, dense-1024, ",
            "received 'nope'",
        ),
        ("network", "[]", "network: Input should be a valid string", "received []"),
        ("network", "dense-1024", "network dense-1024 needs a backbone before it", "before it"),
        ("backbone", '{"name": "mobilenet", "image_px": 100000}', "backbone.image_px: Input should be less", "100000"),
    ],
)
@pytest.mark.parametrize("epochs", [None, 2])
def test_a_value_that_is_not_valid_is_named_with_its_rule(
    key: str, value: str, place: str, received: str, epochs: int | None
) -> None:
    with pytest.raises(PermanentError) as caught:
        override(TOY, epochs, {key: value})
    message = str(caught.value)
    assert message.startswith(f"recipe toy is not valid: {place}")
    assert message.endswith(received)
    assert "\n" not in message


def test_a_phase_cannot_be_set_where_there_is_none() -> None:
    with pytest.raises(PermanentError, match=r"^overrides \(--set .* must name fields of a recipe; received 'epochs'"):
        override(TOY, None, {"phases": "3", "epochs": "1"})


@pytest.mark.parametrize("epochs", [0, -3])
def test_fewer_epochs_than_one_are_refused(epochs: int) -> None:
    with pytest.raises(PermanentError, match=rf"^recipe toy is not valid: epochs: .* 0; received {epochs}$"):
        override(TOY, epochs, {})


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("backbone.name", "vgg", "unknown backbone 'vgg'; known: densenet121, efficientnet-lite0, efficientnet-"),
        (
            "backbone.image_px",
            "31",
            "mobilenet needs images of at least 32 px; received image_px 31: --set back",
        ),
        ("backbone.weights", '"a\\u0000b"', "recipe mobilenet is not valid: backbone.weights: String should match"),
        ("backbone.weights", "", "recipe mobilenet is not valid: backbone.weights: String should have at least 1"),
        ("backbone.weights", "x" * 2000, "recipe mobilenet is not valid: backbone.weights: String should have at most"),
        ("network", "alexnet", "recipe mobilenet is not valid: network alexnet takes images, and cannot follow"),
        ("dropout", "[" * 100_000, "overrides (--set KEY=VALUE): the value of dropout is nested too deeply"),
        ("dropout", '{"a":' * 100_000, "overrides (--set KEY=VALUE): the value of dropout is nested too deeply"),
        ("dropout", "1" * 5000, "recipe mobilenet is not valid: dropout: Input should be "),
        ("x" * 5000, "1", f"overrides (--set KEY=VALUE) must name fields of a recipe; received '{'x' * 99}…; known: "),
    ],
)
def test_what_a_recipe_with_a_backbone_cannot_be_set_to_is_refused_in_one_short_line(
    key: str, value: str, says: str
) -> None:
    with pytest.raises(PermanentError) as caught:
        override(RECIPES["mobilenet"], None, {key: value})
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_settings_are_kept_for_the_recipes_that_have_them() -> None:
    asked = {"backbone.image_px": "96", "learning_rate": "0.5", "phases.1.epochs": "3", "nothing": "1"}
    assert settings_for(TOY, asked) == {"learning_rate": "0.5", "phases.1.epochs": "3"}
    assert set(settings_for(RECIPES["mobilenet-frozen"], asked)) == {"backbone.image_px", "learning_rate"}


def test_images_of_other_sizes_need_a_network_that_takes_them() -> None:
    sizes = '[{"epochs": 1, "px": 16}]'
    with pytest.raises(PermanentError, match=r"images of other sizes need one of the networks whitened-resnet"):
        override(TOY, None, {"sizes": sizes})
    stronger = '[{"epochs": 1, "px": 16, "augmentation": {"shift_px": 5}}]'
    with pytest.raises(PermanentError, match=r"the augmentation of a size must not be stronger than the recipe's own"):
        override(RECIPES["cifar-fast"], None, {"sizes": stronger})
    with pytest.raises(PermanentError, match=r"both_views is for networks without a backbone"):
        override(RECIPES["mobilenet-frozen"], None, {"both_views": "true"})


def test_settings_that_a_backbone_cannot_follow_are_refused() -> None:
    with pytest.raises(PermanentError, match=r"a frozen backbone's features are computed once: of augm"):
        override(RECIPES["mobilenet-frozen"], None, {"augmentation.shift_px": "2"})
    with pytest.raises(PermanentError, match=r"a phase that trains the head alone needs a backbone before it"):
        override(TOY, None, {"trains": "head"})
