"""Evaluate in a process of its own."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from lib.lineage.manifests import Ref
from lib.models.schema import Recipe
from lib.runtime.jobs import Job, run_job
from tasks.display import show_job
from tasks.storage import settings_store


@task(task_run_name="evaluate {recipe.name}", cache_policy=NO_CACHE)
def evaluate_model(recipe: Recipe, model: Ref) -> Ref:
    """Model → metrics, predictions and pictures."""
    arguments = {"model": model.model_dump()}
    job = Job(step="evaluate", store_uri=settings_store().uri, runs_on=recipe.runs_on, arguments=arguments)
    with show_job(recipe.name, get_run_logger()) as on_event:
        return run_job(job, on_event)
