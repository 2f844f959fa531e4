"""A recipe changed for one run: `--set KEY=VALUE` and `--epochs`."""

import json
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from lib.errors import PermanentError, explain_validation, shortened
from lib.models.backbone_schema import SMALLEST_PX, Backbone
from lib.models.effects import lacks
from lib.models.layers import TABLE, read_layers
from lib.models.schema import NOT_IN_KEY, Phase, Recipe

CLOSE = 5
NOT_SET = {"name"} | NOT_IN_KEY


def override(recipe: Recipe, epochs: int | None, settings: dict[str, str]) -> Recipe:
    """The recipe with at most `epochs` in each phase, and with `settings` such as {"batch_size": "64"}.

    A key is a field of the recipe, a dotted path into it (`augmentation.flip`, `phases.1.learning_rate`), or a
    field of a phase, which is then set in every phase; what is more general is set first. Values are JSON, or else
    text. Fields that are no part of a model's key cannot be set: its address is the same for all who ask for it.
    Raises PermanentError where a key is unknown, a value not valid, or a setting changes nothing.
    """
    data = recipe.model_dump(mode="json")
    for key, text in _general_first(settings):
        if not _set(data, key, text):
            known = sorted((set(data) - NOT_SET) | set(Phase.model_fields))
            raise PermanentError(
                f"overrides (--set KEY=VALUE) must name fields of a recipe; received {shortened(repr(key))}; "
                f"known: {', '.join(known)}"
            )
    try:
        changed = Recipe.model_validate(data)
        if epochs is not None:
            most = Phase(epochs=epochs, learning_rate=1).epochs
            phases = [phase.model_copy(update={"epochs": min(phase.epochs, most)}) for phase in changed.phases]
            changed = changed.model_copy(update={"phases": tuple(phases)})
    except ValidationError as error:
        raise explain_validation(error, f"recipe {recipe.name}") from error
    for key in settings:
        if needs := lacks(changed, key):
            raise PermanentError(
                f"overrides (--set KEY=VALUE) must change something; {shortened(key)} does so only with {needs}, "
                f"which {recipe.name} has not: leave it out, or set what it needs"
            )
    check_backbone(changed)
    _check_watched(changed)
    return changed


def settings_for(recipe: Recipe, settings: dict[str, str]) -> dict[str, str]:
    """Those of `settings` that change something of the recipe, once all are set.

    Without a backbone it has no `backbone.image_px`, and with the optimizer adam no `weight_decay` that counts.
    """
    data = recipe.model_dump(mode="json")
    had = {key: text for key, text in _general_first(settings) if _set(data, key, text)}
    try:
        changed = Recipe.model_validate(data)
    except ValidationError:  # `override` says so
        return had
    return {key: text for key, text in had.items() if not lacks(changed, key)}


def check_backbone(recipe: Recipe) -> None:
    """Raise PermanentError where there is no such backbone, it lacks a layer, or the images are too small for it."""
    for place, backbone in enumerate(recipe.backbones):
        _check_backbone(backbone, f"beside.{place - 1}" if place else "backbone")


def _check_backbone(backbone: Backbone, place: str) -> None:
    """`place` is where the recipe names it."""
    if backbone.name not in SMALLEST_PX:
        raise PermanentError(f"unknown backbone {shortened(repr(backbone.name))}; known: {', '.join(SMALLEST_PX)}")
    if backbone.image_px < (smallest := SMALLEST_PX[backbone.name]):
        raise PermanentError(
            f"{backbone.name} needs images of at least {smallest} px; "
            f"received image_px {backbone.image_px}: --set {place}.image_px={smallest}"
        )
    layers = read_layers().get(backbone.name, backbone.pooled)
    if unknown := [layer for layer in backbone.pooled if layer not in layers]:
        raise PermanentError(
            f"{place}.pooled must name layers of {backbone.name}; received {shortened(repr(unknown[0]))}; "
            f"known: {', '.join(get_close_matches(unknown[0], layers, CLOSE) or layers[-CLOSE:])}, … "
            f"(all in {TABLE.name})"
        )


def _check_watched(recipe: Recipe) -> None:
    """Raise PermanentError where another figure ends a training than the one that chooses the epoch to keep.

    It is no rule of the schema, as models of such recipes are stored, and stay what they are.
    """
    if recipe.keep == "best" and recipe.early_stopping_epochs and recipe.early_stopping_on != "accuracy":
        raise PermanentError(
            f"recipe {recipe.name}: keep=best keeps the epoch of the highest validation accuracy, and early stopping "
            f"must watch the same figure; received early_stopping_on={recipe.early_stopping_on}: "
            "--set early_stopping_on=accuracy, or --set keep=last"
        )


def _general_first(settings: dict[str, str]) -> list[tuple[str, str]]:
    """So that what is set for one phase, say, counts there, in whatever order they come: a database has its own."""
    return sorted(settings.items(), key=lambda item: (_depth(item[0]), item[0]))


def _depth(key: str) -> float:
    """How deep in a recipe lies what `key` names: a field of every phase lies above the same of one phase."""
    return 1.5 if key in Phase.model_fields else key.count(".")


def _set(data: dict[str, Any], key: str, text: str) -> bool:
    """Set `key` in `data` to the value in `text`; False, and nothing is set, where there is no such place."""
    last, places = key.rsplit(".", 1)[-1], _places(data, key)
    for place in places:
        place[last] = _value(key, text)
    return bool(places)


def _places(data: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """What in `data` has the last part of `key`: every phase, where that is a field of a phase."""
    *parents, last = key.split(".")
    if key in Phase.model_fields:
        phases = data["phases"] if isinstance(data["phases"], list) else []
        return [phase for phase in phases if isinstance(phase, dict)]
    place: Any = data
    for parent in parents:
        if isinstance(place, list):
            place = dict(zip(map(str, range(len(place))), place, strict=True))
        place = place.get(parent) if isinstance(place, dict) else None
    known = isinstance(place, dict) and last in place and (parents or [last])[0] not in NOT_SET
    return [place] if known else []


def _value(key: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
    except RecursionError as error:
        raise PermanentError(
            f"overrides (--set KEY=VALUE): the value of {shortened(key)} is nested too deeply"
        ) from error
