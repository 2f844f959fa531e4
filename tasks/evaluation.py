"""Evaluate in a process of its own."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from lib.jobs import Job, run_job
from lib.manifests import Ref
from tasks.display import show_job
from tasks.storage import settings_store


@task(task_run_name="evaluate {recipe}", cache_policy=NO_CACHE)
def evaluate_model(recipe: str, model: Ref) -> Ref:
    """Model → metrics, predictions and pictures."""
    arguments = {"model": model.model_dump()}
    with show_job(recipe, get_run_logger()) as on_event:
        return run_job(Job(step="evaluate", store_uri=settings_store().uri, arguments=arguments), on_event)
