"""Train and evaluate one recipe: `python -m flows.train_model --dataset digits --model digits-cnn`.

A worker runs the same flow for each model.
"""

import argparse
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows.command import add_place_options, check_ready, main_of, reach_store, settings_of
from flows.ingest import ingest
from flows.parameters import add_options, read_options, takes
from flows.tables import show_use
from lib.command_line import GO_ON, parser
from lib.errors import PipelineError, shortened
from lib.lineage.manifests import Ref, load
from lib.planning.outputs import check_prepared, find_evaluation, find_prepared, is_complete
from lib.planning.plan import make_plan
from lib.planning.request import ModelRequest, Seed, read_request
from lib.planning.titles import run_title
from lib.runtime.hardware import require_hardware
from lib.store import Store
from tasks.endings import completed
from tasks.evaluation import add_beside, evaluate_model
from tasks.ingestion import ingest_backbone
from tasks.inputs import untraced
from tasks.retries import with_retries
from tasks.schedules import scheduled_start
from tasks.settings import current_settings, current_store, using
from tasks.training import compute_features, train_recipe
from tasks.workers import work_pool


def _run_name() -> str:
    given = flow_run.parameters
    try:
        return run_title(make_plan(read_request(ModelRequest, given).alone(), scheduled_start, current_store()))
    except PipelineError:  # the flow says it
        return f"train {shortened(str(given['model']))} on {shortened(str(given['dataset']))}"


@flow(name="train-model", flow_run_name=_run_name, retries=0, validate_parameters=False)
@takes(ModelRequest)
def train_model(
    model: str,
    dataset: str = "digits",
    epochs: int | None = None,
    limit: int | None = None,
    seed: Seed = 0,
    overrides: dict[str, Any] | None = None,
    robustness: bool = False,
    weights: str | None = None,
    prepared: Ref | None = None,
) -> Ref:
    """Train `model` on `dataset`, preparing the data first where `prepared` is not given. Returns the evaluation."""
    request = read_request(ModelRequest, locals())
    plan = make_plan(request.alone(), scheduled_start, current_store())
    (trial,) = plan.trials
    recipe, prepared = trial.recipe, request.prepared
    if prepared:
        check_prepared(current_store(), plan, prepared)
    else:
        prepared = ingest(dataset, limit)
    if done := find_evaluation(current_store(), plan, trial, prepared):
        add_beside(request, recipe, done)
        return completed(done, f"was done before: {accuracies(current_store(), done)}")
    require_hardware(recipe.name, recipe.runs_on, current_settings().allow_cpu, work_pool())
    starts, features = dict[str, Ref](), dict[str, Ref]()
    for backbone in recipe.backbones:
        if start := with_retries(ingest_backbone)(backbone):
            starts[backbone.name] = start
        if backbone.frozen:
            asked = recipe.alone(backbone), untraced(prepared), trial.seed, start
            features[backbone.name] = with_retries(compute_features)(*asked)
    trained = with_retries(train_recipe)(recipe, untraced(prepared), trial.seed, starts, features)
    evaluation = with_retries(evaluate_model)(recipe, trained)
    add_beside(request, recipe, evaluation)
    return completed(evaluation, accuracies(current_store(), evaluation))


def make_parser() -> argparse.ArgumentParser:
    options = parser(__doc__)
    add_options(options, ModelRequest, "prepared")
    add_place_options(options, hardware=True)
    return options


def command(arguments: list[str] | None = None) -> None:
    chosen = make_parser().parse_args(arguments)
    settings, request = settings_of(chosen), read_options(ModelRequest, chosen)
    store = reach_store(settings)
    plan = make_plan(request.alone(), store=store)
    prepared = find_prepared(store, plan.dataset, plan.limit)
    found = find_evaluation(store, plan, plan.trials[0], prepared) if prepared else None
    done = found if found and is_complete(store, request, found) else None
    if not done:
        check_ready(store)
    with using(settings):
        evaluation = done or train_model(**dict(request))
    print(f"{request.model} {'was trained before' if done else 'is trained'}: {accuracies(store, evaluation)}")
    print(f"{store.uri}/{evaluation.uri}")
    show_use(store, request.model, load(store, evaluation).inputs["model"])


def accuracies(store: Store, evaluation: Ref) -> str:
    """What the model of `evaluation` reaches, in words. Only a report shows test, where that is asked for."""
    metrics = load(store, evaluation).facts["metrics"]
    found = ", ".join(f"{metrics[split]['accuracy']:.4f} on {split}" for split in ("train", "validation"))
    return f"accuracy {found}"


if __name__ == "__main__":
    main_of(command, GO_ON)
