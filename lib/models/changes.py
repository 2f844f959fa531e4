"""What differs between two settings of a recipe, as text."""

from typing import Any

from lib.models.backbone_schema import IMAGENET, RANDOM
from lib.models.recipes import RECIPES
from lib.models.schema import settings_of


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """`phases.0.epochs 20 → 5` for each leaf that differs."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        old, new = (dict(enumerate(each)) for each in (old, new))
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [f"{path} {said(old)} → {said(new)}"]
    keys = dict.fromkeys([*old, *new])
    return [
        change for key in keys for change in differences(old.get(key), new.get(key), f"{path}.{key}".removeprefix("."))
    ]


def changes(model: dict[str, Any]) -> list[str]:
    """What the settings of a model, told by the facts of its manifest, change of the recipe of its name as it is now.

    An unknown recipe has no settings to compare with: the list is empty.
    """
    recipe = RECIPES.get(model["recipe"]["name"])
    if recipe is None:
        return []
    found = differences(recipe.settings(), settings_of(model["recipe"]))
    start = recipe.backbone.weights if recipe.backbone else None
    used = model["weights"] or RANDOM
    return found if start is None or start == used else [*found, f"weights {start} → {used}"]


def start_of(weights: str) -> str:
    """What a backbone starts from, in words; `weights` as a model's manifest names it."""
    return {RANDOM: "random weights", IMAGENET: "ImageNet weights"}.get(weights, f"the weights {weights}")


def said(value: Any) -> str:
    """A setting as a person reads it."""
    return "none" if value is None else str(value)
