"""What a run is asked to do, checked before anything starts, and how much of it is done already."""

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from lib.data.datasets import DatasetSpec, find_dataset
from lib.errors import PermanentError
from lib.lineage.manifests import Ref, find
from lib.lineage.steps import dataset_address, evaluation_address, model_address, prepared_address, report_address
from lib.models.recipes import choose_recipes, override
from lib.models.schema import IMAGENET, RANDOM, Recipe
from lib.models.weights import find_weights
from lib.runtime.hardware import can_run_here
from lib.store import Store

Seed = int | Literal["fresh"]
LARGEST_SEED = 2**32 - 1


class Plan(BaseModel):
    """A dataset, how much of it, and the resolved recipes to train on it."""

    model_config = ConfigDict(frozen=True)

    dataset: DatasetSpec
    recipes: tuple[Recipe, ...]
    limit: int | None
    seed: int


def make_plan(
    dataset: str,
    models: list[str] | None = None,
    epochs: int | None = None,
    limit: int | None = None,
    seed: Seed = 0,
    overrides: dict[str, str] | None = None,
    baselines: bool = False,
    weights: str | list[str] | None = None,
    today: datetime | None = None,
) -> Plan:
    """Resolve names and overrides; of several `weights`, each backbone is trained from each.

    Raises PermanentError for anything that cannot be.
    """
    spec = find_dataset(dataset)
    check_limit(spec, limit)
    if epochs is not None and epochs < 1:
        raise PermanentError(f"--epochs must be a whole number of at least 1; received {epochs}")
    chosen = choose_recipes(dataset, models, baselines)
    if not chosen:
        raise PermanentError(f"no recipe names dataset {dataset!r}; choose some: --models NAME [NAME …]")
    resolved = [override(recipe, epochs, overrides or {}) for recipe in chosen]
    recipes = _starting_from([weights] if isinstance(weights, str) else weights, resolved)
    return Plan(dataset=spec, recipes=recipes, limit=limit, seed=resolve_seed(seed, today or datetime.now(UTC)))


def _starting_from(weights: list[str] | None, recipes: list[Recipe]) -> tuple[Recipe, ...]:
    if not weights:
        return tuple(recipes)
    backbones = {recipe.backbone.name for recipe in recipes if recipe.backbone}
    if not backbones:
        raise PermanentError(
            f"--weights is for recipes with a backbone; received {', '.join(recipe.name for recipe in recipes)}"
        )
    given = [each for each in weights if each not in {IMAGENET, RANDOM}]
    if given and len(backbones) > 1:
        raise PermanentError(
            f"--weights {given[0]} fits one backbone; received recipes with {', '.join(sorted(backbones))}: "
            "choose with --models"
        )
    variants = [recipe.starting_from(each) for recipe in recipes for each in weights]
    return tuple(dict.fromkeys(variants))


def check_limit(spec: DatasetSpec, limit: int | None) -> None:
    """Raise PermanentError where `limit` training rows cannot have each class of `spec`."""
    classes = len(spec.class_names)
    if limit is not None and limit < 1:
        raise PermanentError(f"--limit must be a whole number of at least 1; received {limit}")
    if limit is not None and limit < classes:
        raise PermanentError(
            f"--limit must be at least {classes}, one row of each class of {spec.name}; received {limit}"
        )


def resolve_seed(seed: Seed, started: datetime) -> int:
    """`seed`, or for `fresh` the date of the run's scheduled start as YYYYMMDD: the same over its retries."""
    if seed == "fresh":
        return int(started.astimezone(UTC).strftime("%Y%m%d"))
    if not 0 <= seed <= LARGEST_SEED:
        raise PermanentError(f"--seed must be 'fresh' or from 0 to {LARGEST_SEED}; received {seed}")
    return seed


def find_prepared(store: Store, spec: DatasetSpec, limit: int | None) -> Ref | None:
    """The prepared data, if they are there."""
    if not (dataset := find(store, dataset_address(spec))):
        return None
    prepared = find(store, prepared_address(spec, dataset[0], limit))
    return prepared[0] if prepared else None


def find_model_address(store: Store, plan: Plan, recipe: Recipe, prepared: Ref) -> str | None:
    """Where the recipe's model lies, or will; None where that cannot be said before its weights are in the store."""
    weights = find_weights(store, recipe.backbone) if recipe.backbone else None
    if recipe.backbone and recipe.backbone.weights != RANDOM and not weights:
        return None
    return model_address(plan.dataset.name, recipe, prepared, plan.seed, weights)


def find_evaluation(store: Store, plan: Plan, recipe: Recipe, prepared: Ref) -> Ref | None:
    """The evaluation of the recipe's model, if it is there."""
    address = find_model_address(store, plan, recipe, prepared)
    if not (address and (model := find(store, address))):
        return None
    evaluation = find(store, evaluation_address(plan.dataset.name, recipe.name, model[0]))
    return evaluation[0] if evaluation else None


def find_report(store: Store, plan: Plan, allow_cpu: bool) -> Ref | None:
    """The report of a plan that is done already, but for what this machine would leave out; or None."""
    if not (prepared := find_prepared(store, plan.dataset, plan.limit)):
        return None
    evaluations = {recipe: find_evaluation(store, plan, recipe, prepared) for recipe in plan.recipes}
    finished = [evaluation for evaluation in evaluations.values() if evaluation]
    if not finished or any(not done and can_run_here(recipe, allow_cpu) for recipe, done in evaluations.items()):
        return None
    report = find(store, report_address(plan.dataset.name, prepared, finished))
    return report[0] if report else None
