"""Prepare, train and evaluate one recipe without Prefect, for faults that meet the store and the trainer alone.

`python -m tests.faults.steps` takes the options of `python -m flows.train`, and tries nothing twice.
"""

import sys

from flows.parameters import add_options, read_options
from lib.command_line import GO_ON, add_store_option, main_of, parser, settings_of
from lib.data.ingest import ingest
from lib.data.prepare import prepare
from lib.lineage.manifests import Ref
from lib.models.schema import Recipe
from lib.planning.outputs import find_prepared
from lib.planning.plan import Plan, make_plan
from lib.planning.request import TrainingRequest
from lib.runtime.jobs import Event, Job, run_job
from lib.settings import Settings
from lib.store import open_store


def asked() -> tuple[Settings, Plan]:
    """What the options ask for."""
    options = parser(__doc__)
    add_options(options, TrainingRequest)
    add_store_option(options)
    chosen = options.parse_args()
    return settings_of(chosen), make_plan(read_options(TrainingRequest, chosen))


def command() -> None:
    settings, plan = asked()
    evaluate(settings, plan, train(settings, plan))


def train(settings: Settings, plan: Plan) -> Ref:
    """The model of the plan's one recipe; where the data are not prepared, they are first."""
    store, ((recipe, seed),) = open_store(settings.store_uri, settings.cache_dir), plan.trials
    prepared = find_prepared(store, plan.dataset, plan.limit)
    if not prepared:
        dataset = ingest(plan.dataset, store, settings.mirror_url, lambda *_: None)
        prepared = prepare(plan.dataset, store, dataset, plan.limit)
    made_of = {"prepared": prepared.model_dump(), "seed": seed, "weights": {}, "features": {}}
    return run(settings, recipe, "model", recipe=recipe.model_dump(mode="json"), **made_of)


def evaluate(settings: Settings, plan: Plan, model: Ref) -> Ref:
    return run(settings, plan.recipes[0], "evaluation", model=model.model_dump())


def run(settings: Settings, of: Recipe, step: str, /, **arguments: object) -> Ref:
    return run_job(Job(step=step, settings=settings, runs_on=of.runs_on, arguments=arguments), say)


def say(event: Event) -> None:
    """As the flows' log does, as far as rows look for it."""
    told = {
        "chunk": "begins with step {step} of epoch {epoch}",
        "waiting": "waits for {for}",
        "warning": "{message}",
    }.get(event["event"])
    if told:
        step = {"step": event["step"] + 1} if "step" in event else {}
        print(told.format_map({**event, **step}), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main_of(command, GO_ON)
