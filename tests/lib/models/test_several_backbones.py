"""What a recipe with several backbones can be."""

import pytest

from lib.errors import PermanentError
from lib.models.overrides import override
from lib.models.recipes import RECIPES

SEVERAL = RECIPES["backbones-frozen"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"backbone.frozen": "false"}, "beside is for frozen backbones: backbone, and each one beside it, must have"),
        ({"beside.1.frozen": "false"}, "beside is for frozen backbones: backbone, and each one beside it, must have"),
        ({"backbone": "null"}, "network standardised-dense-2048 needs a backbone before it"),
        (
            {"beside.0.name": "mobilenet"},
            "backbones that stand side by side must differ; received mobilenet, mobilenet,",
        ),
        (
            {"beside.1.weights": "none"},
            "several backbones must start all from imagenet or all from none; received imag",
        ),
        (
            dict.fromkeys(("backbone.weights", "beside.0.weights", "beside.1.weights"), "my.h5"),
            "several backbones must",
        ),
        ({"network": "alexnet"}, "network alexnet takes images, and cannot follow backbone mobilenet"),
        ({"deterministic": "false"}, ""),
    ],
)
def test_backbones_side_by_side_are_frozen_differ_and_start_alike(settings: dict[str, str], says: str) -> None:
    if not says:
        assert override(SEVERAL, None, settings).beside == SEVERAL.beside
        return
    with pytest.raises(PermanentError) as caught:
        override(SEVERAL, None, settings)
    assert str(caught.value).startswith(f"recipe backbones-frozen is not valid: {says}")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"beside.1.image_px": "31"}, "received image_px 31: --set beside.1.image_px=32"),
        ({"beside.0.name": "vgg"}, "unknown backbone 'vgg'; known: "),
        (
            {"beside.0.pooled": '["top_relux"]'},
            "beside.0.pooled must name layers of efficientnet-lite0; received 'top_",
        ),
    ],
)
def test_what_a_backbone_beside_another_cannot_be_is_told_by_its_place(settings: dict[str, str], says: str) -> None:
    with pytest.raises(PermanentError) as caught:
        override(SEVERAL, None, settings)
    assert says in str(caught.value)


def test_all_backbones_of_a_recipe_start_from_what_a_run_asks_for() -> None:
    changed = SEVERAL.starting_from("none")
    assert [each.weights for each in changed.backbones] == ["none"] * 3
    assert changed.title == "backbones-frozen (weights: none)"
    assert changed.resolved() == SEVERAL.resolved(), "what they start from is an input of its own"
    assert not any("weights" in each for each in changed.settings()["beside"])


def test_a_recipe_with_one_backbone_shows_none_beside_it() -> None:
    assert "beside" not in RECIPES["mobilenet-frozen"].settings()
    assert [each["name"] for each in SEVERAL.settings()["beside"]] == ["efficientnet-lite0", "efficientnet-lite2"]
    assert SEVERAL.alone(SEVERAL.beside[0]).backbones == (SEVERAL.beside[0],)
