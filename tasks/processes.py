"""Run a step in a process of its own, and show what it says."""

from typing import Any

from prefect.logging import get_run_logger
from pydantic import BaseModel

from lib.lineage.manifests import Ref
from lib.models.schema import Recipe
from lib.runtime.hardware import RunsOn
from lib.runtime.jobs import Job, run_job
from tasks.display import show_job
from tasks.settings import current_settings


def run_step(step: str, recipe_of_run: Recipe, /, **arguments: Any) -> Ref:
    """The output of the step of this kind, run where the recipe asks for; `arguments` are its job's own."""
    return run_alone(step, recipe_of_run.name, recipe_of_run.runs_on, **arguments)


def run_alone(step: str, name: str, runs_on: RunsOn, /, **arguments: Any) -> Ref:
    """The same of a step that has no recipe: what it says is shown under `name`."""
    plain = {
        key: value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        for key, value in arguments.items()
    }
    job = Job(step=step, settings=current_settings(), runs_on=runs_on, arguments=plain)
    dataset = next(value.uri.split("/")[1] for value in arguments.values() if isinstance(value, Ref))
    with show_job(name, dataset, get_run_logger()) as on_event:
        return run_job(job, on_event)
