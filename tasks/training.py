"""Compute features and train, each in a process of its own."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from lib.lineage.manifests import Ref
from lib.models.schema import Recipe
from tasks.processes import run_step


@task(task_run_name="compute features of {recipe.backbone.name} for {recipe.name}", cache_policy=NO_CACHE)
def compute_features(recipe: Recipe, prepared: Ref, seed: int, weights: Ref | None) -> Ref:
    """Prepared data → the features of the recipe's one backbone, which is frozen."""
    given = recipe.model_dump(mode="json")
    return run_step("features", recipe, recipe=given, prepared=prepared, seed=seed, weights=weights)


@task(task_run_name="train {recipe.name}", cache_policy=NO_CACHE)
def train_recipe(recipe: Recipe, prepared: Ref, seed: int, weights: dict[str, Ref], features: dict[str, Ref]) -> Ref:
    """Prepared data → model, resumed from the last checkpoint. Weights and features are those of each backbone."""
    given = recipe.model_dump(mode="json")
    return run_step("model", recipe, recipe=given, prepared=prepared, seed=seed, weights=weights, features=features)
