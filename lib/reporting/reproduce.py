"""The command that makes the models of a report anew: of data, recipes, seeds and what was set for the run."""

import json
import shlex
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from lib.errors import PermanentError
from lib.lineage.manifests import Manifest
from lib.models.backbone_schema import RANDOM
from lib.models.overrides import override
from lib.models.recipes import RECIPES
from lib.models.schema import settings_of


class _Run(NamedTuple):
    """What models must share to come of one command, besides their seeds."""

    weights: str | None
    overrides: tuple[tuple[str, str], ...]


class Commands(BaseModel):
    """How to make the models of a report anew."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    lines: list[str] = []
    """One command where they share seed and settings, else one for each such group."""
    without: int = 0
    """Models that none makes: this code does not know their recipe, or cannot change it to what it was."""


def commands(dataset: str, limit: int | None, models: Sequence[Manifest], show_test: bool) -> Commands:
    """Of the manifests of `models`. It is recorded with the report: the recipes may be others tomorrow."""
    found = [(_run(model.facts), model.facts) for model in models]
    seeds: dict[tuple[_Run, str], set[int]] = {}
    for run, facts in found:
        if run:
            seeds.setdefault((run, facts["recipe"]["name"]), set()).add(facts["seed"])
    names: dict[tuple[_Run, int, int], list[str]] = {}
    for (run, name), of_model in seeds.items():
        for first, count in _stretches(of_model):
            names.setdefault((run, first, count), []).append(name)
    start = ["python", "-m", "flows.train", "--dataset", dataset, *(["--limit", str(limit)] if limit else [])]
    end = ["--show-test"] if show_test else []
    lines = [
        shlex.join([*start, "--models", *sorted(each), *_options(run, first, count), *end])
        for (run, first, count), each in names.items()
    ]
    return Commands(lines=lines, without=sum(run is None for run, _ in found))


def _stretches(seeds: Iterable[int]) -> list[tuple[int, int]]:
    """The first of each stretch of seeds that follow one another, and how many it has."""
    found = list[tuple[int, int]]()
    for seed in sorted(seeds):
        if found and sum(found[-1]) == seed:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((seed, 1))
    return found


def _options(run: _Run, first: int, count: int) -> list[str]:
    words = ["--seed", str(first), *(["--seeds", str(count)] if count > 1 else [])]
    words += ["--weights", run.weights] if run.weights is not None else []
    return words + [word for key, value in run.overrides for word in ("--set", f"{key}={value}")]


def _run(facts: dict[str, Any]) -> _Run | None:
    recipe, has = RECIPES.get(facts["recipe"]["name"]), settings_of(facts["recipe"])
    if recipe is None:
        return None
    overrides = dict(_changed(recipe.settings(), has))
    try:
        if override(recipe, None, overrides).settings() != has:
            return None
    except PermanentError:
        return None
    own, used = recipe.backbone.weights if recipe.backbone else None, facts["weights"] or RANDOM
    return _Run(None if own in {None, used} else used, tuple(sorted(overrides.items())))


def _changed(own: Any, has: Any, path: str = "") -> list[tuple[str, str]]:
    """Key and value of --set for each setting of `has` that is another in `own`."""
    if isinstance(own, list) and isinstance(has, list) and len(own) == len(has):
        own, has = (dict(enumerate(each)) for each in (own, has))
    if not (isinstance(own, dict) and isinstance(has, dict)):
        return [] if own == has else [(path, has if isinstance(has, str) else json.dumps(has))]
    keys = dict.fromkeys([*own, *has])
    return [pair for key in keys for pair in _changed(own.get(key), has.get(key), f"{path}.{key}".removeprefix("."))]
