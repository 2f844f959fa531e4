"""Train in a process of its own."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from lib.jobs import Job, run_job
from lib.manifests import Ref
from lib.models.recipes import Recipe
from tasks.display import show_job
from tasks.storage import settings_store


@task(task_run_name="train {recipe.name}", cache_policy=NO_CACHE)
def launch_training(recipe: Recipe, prepared: Ref, seed: int) -> Ref:
    """Prepared data → model, resumed from the last checkpoint."""
    arguments = {"recipe": recipe.model_dump(mode="json"), "prepared": prepared.model_dump(), "seed": seed}
    with show_job(recipe.name, get_run_logger()) as on_event:
        return run_job(Job(step="train", store_uri=settings_store().uri, arguments=arguments), on_event)
