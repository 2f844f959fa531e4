"""Compute features and train, each in a process of its own."""

from typing import Literal

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from pydantic import BaseModel

from lib.lineage.manifests import Ref
from lib.models.schema import Recipe
from lib.runtime.jobs import Job, run_job
from tasks.display import show_job
from tasks.storage import settings_store


@task(task_run_name="compute features for {recipe.name}", cache_policy=NO_CACHE)
def compute_features(recipe: Recipe, prepared: Ref, seed: int, weights: Ref | None) -> Ref:
    """Prepared data → the features of the recipe's frozen backbone."""
    return _launch("features", recipe, prepared=prepared, seed=seed, weights=weights)


@task(task_run_name="train {recipe.name}", cache_policy=NO_CACHE)
def train_recipe(recipe: Recipe, prepared: Ref, seed: int, weights: Ref | None, features: Ref | None) -> Ref:
    """Prepared data → model, resumed from the last checkpoint."""
    return _launch("train", recipe, prepared=prepared, seed=seed, weights=weights, features=features)


def _launch(step: Literal["features", "train"], recipe: Recipe, **inputs: Ref | int | None) -> Ref:
    plain = {name: value.model_dump() if isinstance(value, BaseModel) else value for name, value in inputs.items()}
    arguments = {"recipe": recipe.model_dump(mode="json"), **plain}
    job = Job(step=step, store_uri=settings_store().uri, runs_on=recipe.runs_on, arguments=arguments)
    with show_job(recipe.name, get_run_logger()) as on_event:
        return run_job(job, on_event)
