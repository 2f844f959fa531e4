"""Evaluate in a process of its own."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from lib.lineage.manifests import Ref
from lib.models.schema import Recipe
from tasks.processes import run_step


@task(task_run_name="evaluate {recipe.name}", cache_policy=NO_CACHE)
def evaluate_model(recipe: Recipe, model: Ref) -> Ref:
    """Model → metrics and predictions."""
    return run_step("evaluation", recipe, model=model)
