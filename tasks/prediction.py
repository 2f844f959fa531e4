"""Predict images in a process of its own, and tell of drift."""

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.logging import get_run_logger

from lib.lineage.manifests import Ref, load
from lib.prediction.choice import model_to_use
from lib.prediction.export import export
from lib.prediction.inputs import InputSource
from lib.prediction.summary import DRIFT, summary
from tasks.processes import run_alone
from tasks.settings import current_settings, current_store

DRIFT_DETECTED = "drift.detected"


@task(task_run_name="predict with a model of {dataset}", cache_policy=NO_CACHE)
def predict_images(dataset: str, model: str | None, source: InputSource, top: int) -> Ref:
    """Images → a row each, stored in parts: a second try goes on with the part that the first was at."""
    evaluation = model_to_use(current_store(), dataset, model)
    recipe = load(current_store(), evaluation).facts["recipe"]
    return run_alone("prediction", recipe, "cpu", evaluation=evaluation, source=source, top=top)


@task(task_run_name="export to {output}", cache_policy=NO_CACHE)
def export_predictions(prediction: Ref, output: str) -> None:
    """All rows → one file."""
    store = current_store()
    export(store, load(store, prediction), output, current_settings())


@task(task_run_name="tell of drift of {dataset}", cache_policy=NO_CACHE)
def tell_of_drift(dataset: str, prediction: Ref) -> None:
    """What a prediction says → log and artifact; where its images are not like validation's, DRIFT_DETECTED."""
    made = load(current_store(), prediction)
    for line in summary(made):
        get_run_logger().info(line)
    create_markdown_artifact("\n\n".join(summary(made)), key=f"prediction-{dataset}", description=prediction.uri)
    if made.facts["drift"]["verdict"] == DRIFT:
        resource = {"prefect.resource.id": f"dataset.{dataset}", "prefect.resource.name": dataset}
        emit_event(DRIFT_DETECTED, resource, payload={**prediction.model_dump(), "said": made.facts["drift"]["said"]})
