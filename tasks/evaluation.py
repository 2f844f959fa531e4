"""Evaluate, and measure robustness, each in a process of its own."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from lib.errors import one_line
from lib.lineage.manifests import Ref, load
from lib.models.schema import Recipe
from lib.planning.outputs import asked_beside
from lib.planning.request import RecipeRequest
from lib.runtime.hardware import require_hardware
from tasks.processes import run_step
from tasks.retries import with_retries
from tasks.settings import current_settings, current_store
from tasks.workers import work_pool


@task(task_run_name="evaluate {recipe.name}", cache_policy=NO_CACHE)
def evaluate_model(recipe: Recipe, model: Ref) -> Ref:
    """Model → metrics and predictions."""
    return run_step("evaluation", recipe, model=model)


@task(task_run_name="measure robustness of {recipe.name}", cache_policy=NO_CACHE)
def measure_robustness(recipe: Recipe, model: Ref) -> Ref:
    """Model → what it predicts of corrupted test images."""
    return run_step("robustness", recipe, model=model)


def add_beside(request: RecipeRequest, recipe: Recipe, evaluation: Ref) -> None:
    """Make what `request` asks for besides `evaluation`, as far as it is not there.

    What goes wrong is a warning: the evaluation stands, and the next run tries again.
    """
    for output in asked_beside(current_store(), request, evaluation):
        if output.ref is None:
            try:
                require_hardware(recipe.name, recipe.runs_on, current_settings().allow_cpu, work_pool())
                with_retries(BESIDE[output.step.kind])(recipe, load(current_store(), evaluation).inputs["model"])
            except Exception as error:
                said = one_line(error)
                get_run_logger().warning("%s: no %s: %s", recipe.title, output.step.kind, said)


BESIDE = {"robustness": measure_robustness}
"""By the kind of step."""
