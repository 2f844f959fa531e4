"""Values of `--set` that another program would take for something else, or that only a training would find wrong."""

import pytest

from lib.errors import PermanentError
from lib.lineage.manifests import Ref
from lib.models.backbone_schema import SMALLEST_PX
from lib.models.layers import list_layers, read_layers
from lib.models.overrides import override
from lib.models.recipes import RECIPES
from lib.models.schema import Recipe, model_address

NUMBER, TRUTH = "Input should not be true or false; received True", "Input should be true or false; received "
XLA = "recipe mobilenet is not valid: a recipe that runs on a GPU is compiled by XLA, which knows no bicubic"


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("batch_size", "true", f"batch_size: {NUMBER}"),
        ("dropout", "true", f"dropout: {NUMBER}"),
        ("early_stopping_epochs", "true", f"early_stopping_epochs: {NUMBER}"),
        ("learning_rate", "true", f"phases.0.learning_rate: {NUMBER}"),
        ("backbone.image_px", "true", f"backbone.image_px: {NUMBER}"),
        ("augmentation.flip", "1", f"augmentation.flip: {TRUTH}1"),
        ("augmentation.flip", "0.0", f"augmentation.flip: {TRUTH}0.0"),
        ("backbone.frozen", "1", f"backbone.frozen: {TRUTH}1"),
        ("deterministic", "0", f"deterministic: {TRUTH}0"),
        (
            "learning_rate",
            "1e39",
            "phases.0.learning_rate: Input should be at most 3.4e38, the largest of float32; rec",
        ),
        (
            "weight_decay",
            "1e39",
            "phases.0.weight_decay: Input should be at most 3.4e38, the largest of float32; recei",
        ),
        (
            "learning_rate",
            "1e-40",
            "phases.0.learning_rate: Input should be 0 or at least 1.2e-38, the smallest of flo",
        ),
        ("momentum", "0.99999999999", "phases.0.momentum: Input should be at most 0.9999999, or float32 takes it for"),
        ("dropout", "0.99999999999", "dropout: Input should be at most 0.9999999, or float32 takes it for 1; received"),
        ("learning_rate", "1e400", "phases.0.learning_rate: Input should be a finite number; received inf"),
        ("learning_rate", "-Infinity", "phases.0.learning_rate: Input should be"),
        ("learning_rate", "nan", "phases.0.learning_rate: Input should be a finite number; received 'nan'"),
        ("learning_rate", "-0.0", "phases.0.learning_rate: Input should be greater than 0; received -0.0"),
        ("label_smoothing", "nan", "label_smoothing: Input should be a finite number; received 'nan'"),
        (
            "batch_size",
            str(2**63),
            "batch_size: Input should be less than or equal to 65536; received 92233720368547758",
        ),
        ("batch_size", "1e400", "batch_size: Input should be a finite number; received inf"),
        (
            "batch_size",
            "\x1b[31m",
            "batch_size: Input should be a valid integer, unable to parse string as an integer; ",
        ),
        ("backbone.weights", "\x9b31m", "backbone.weights: String should match pattern"),
        ("backbone.weights", "\udc80", "backbone.weights: Input should be a valid string"),
    ],
)
def test_a_value_of_another_kind_is_refused_in_planning(key: str, value: str, says: str) -> None:
    with pytest.raises(PermanentError) as error:
        override(RECIPES["mobilenet"], None, {key: value})
    assert str(error.value).startswith(f"recipe mobilenet is not valid: {says}")
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"backbone.pooled": '["conv_pw_13_rel"]'},
            "names layers of mobilenet; received 'conv_pw_13_rel'; known: conv",
        ),
        ({"backbone.pooled": '["input_layer"]'}, "names layers of mobilenet; received 'input_layer'; known: "),
        ({"backbone.pooled": '["\\u001b[31m"]'}, "names layers of mobilenet; received '\\x1b[31m'; known: conv"),
        (
            {"backbone.name": "inception-v3", "backbone.pooled": '["conv2d_93"]'},
            "names layers of inception-v3; received",
        ),
    ],
)
def test_a_layer_that_the_backbone_has_not_is_refused_in_planning(settings: dict[str, str], says: str) -> None:
    with pytest.raises(PermanentError) as error:
        override(RECIPES["mobilenet"], None, settings)
    assert str(error.value).startswith(f"backbone.pooled must {says.replace('names', 'name')}")
    assert str(error.value).isprintable()


def test_a_gpu_recipe_takes_bicubic_only_where_xla_does_not_compile_it() -> None:
    bicubic = {"backbone.interpolation": "bicubic"}
    with pytest.raises(PermanentError) as error:
        override(RECIPES["mobilenet"], None, bicubic)
    assert str(error.value) == f"{XLA} interpolation: use bilinear, or set deterministic=true"
    assert override(RECIPES["mobilenet"], None, {**bicubic, "deterministic": "true"}).deterministic
    assert Recipe(datasets=(), description="", **override(RECIPES["mobilenet-frozen"], None, bicubic).resolved())


def test_minus_zero_is_zero_and_has_its_address() -> None:
    prepared = Ref(uri="prepared/digits/1", sha256="a" * 64)
    zeros = [override(RECIPES["digits-cnn"], None, {"dropout": text}) for text in ("0", "-0.0", "0.0", "-0")]
    assert len({model_address("digits", recipe, prepared, 0) for recipe in zeros}) == 1


def test_text_is_still_taken_for_the_truth_value_that_it_says() -> None:
    assert override(RECIPES["digits-cnn"], None, {"augmentation.flip": "True"}).augmentation.flip is True


def test_the_layers_of_all_backbones_are_listed() -> None:
    assert list(read_layers()) == list(SMALLEST_PX)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST_PX)
def test_the_listed_layers_are_those_of_the_backbone(name: str) -> None:
    assert read_layers()[name] == list_layers(name), "run python -m lib.models.layers"
