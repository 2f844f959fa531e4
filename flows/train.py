"""Train the models of a dataset and rank them: `python -m flows.train --dataset cifar100`.

It reuses all results that are already in the store.
"""

import argparse
import shlex
from typing import Any

from prefect import flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.command import add_place_options, check_ready, main_of, reach_store, settings_of
from flows.ingest import ingest
from flows.own_images import add_own_options, own_source, show_layout
from flows.parameters import add_options, read_options, takes
from flows.promote import show
from flows.tables import show_leaderboard, show_plan
from flows.train_model import train_model
from lib.command_line import GO_ON, parser
from lib.data.own import read_registration
from lib.errors import PermanentError, PipelineError, SomeModelsFailed, shortened
from lib.lineage.index import read_index
from lib.lineage.manifests import Ref
from lib.planning.outputs import find_beside, find_report
from lib.planning.plan import Outcome, Plan, make_plan
from lib.planning.preview import preview
from lib.planning.request import Seed, TrainingRequest, read_request
from lib.planning.titles import run_title
from lib.registry.gate import Rules
from lib.registry.history import read_history
from lib.registry.promotion import challenger_of, look_ahead
from lib.registry.wording import summary
from lib.reporting.summary import report_summary
from lib.settings import Settings
from lib.store import Store
from tasks.duplicates import find_duplicates
from tasks.endings import completed, started_by
from tasks.inputs import untraced
from tasks.launching import train_models
from tasks.promotion import promote_model
from tasks.publishing import publish_report
from tasks.retries import with_retries
from tasks.schedules import scheduled_start
from tasks.settings import current_store, using


def _run_name() -> str:
    given = flow_run.parameters
    try:
        return run_title(make_plan(read_request(TrainingRequest, given), scheduled_start, current_store()))
    except PipelineError:  # the flow says it
        return f"train all on {shortened(str(given['dataset']))}"


@flow(name="train-all", flow_run_name=_run_name, retries=0, validate_parameters=False)
@takes(TrainingRequest)
def train_all(
    dataset: str = "digits",
    models: list[str] | None = None,
    epochs: int | None = None,
    limit: int | None = None,
    seed: Seed = 0,
    overrides: dict[str, Any] | None = None,
    robustness: bool = False,
    seeds: int = 1,
    baselines: bool = False,
    duplicates: bool = False,
    weights: str | list[str] | None = None,
    show_test: bool = False,
    promote: bool = False,
) -> Ref:
    """Ingest, prepare, train each model, evaluate, report, and promote where that is asked. Returns the report's ref.

    Models that need a GPU which is not there are left out, and the report says so. One model failing loses one model:
    the others are reported on, then SomeModelsFailed names it.
    """
    plan = make_plan(read_request(TrainingRequest, locals()), scheduled_start, current_store())
    for note in plan.notes:
        get_run_logger().info(note)
    prepared = ingest(dataset, limit)
    outcomes = train_models(train_model, plan, prepared)
    evaluations = [outcome.evaluation for outcome in outcomes if outcome.evaluation]
    failed = [outcome for outcome in outcomes if outcome.failed]
    errors = [outcome.error for outcome in [*failed, *outcomes] if outcome.error]
    if not evaluations:
        raise errors[0]
    left_out = plan.by_title({each.trial: _why(each) for each in outcomes if each.error})
    found, lacking = find_duplicates(dataset, prepared, duplicates)
    beside = untraced([*find_beside(current_store(), plan.request, evaluations), *found])
    made_of = dataset, untraced(prepared), untraced(evaluations), left_out
    report = with_retries(publish_report)(*made_of, started_by(), show_test, beside, lacking)
    for each in failed:
        get_run_logger().warning("no result: %s", each.error)
    said = report_summary(current_store(), report)
    if promote:
        challenger, chosen_from = challenger_of(current_store(), report)
        made = with_retries(promote_model)(dataset, challenger, chosen_from, Rules(), started_by())
        said = f"{summary(current_store(), dataset, made.record)}; {said}"
    if failed:
        raise SomeModelsFailed("; ".join(f"{plan.title(each.trial)}: {each.error}" for each in failed), report)
    return completed(report, said)


def _why(outcome: Outcome) -> str:
    return str(outcome.error).removeprefix(f"{outcome.trial.recipe.name} ")


def make_parser() -> argparse.ArgumentParser:
    options = parser(__doc__)
    add_options(options, TrainingRequest)
    add_own_options(options)
    options.add_argument(
        "--plan", action="store_true", help="show what would run and why, with sizes and times; run nothing"
    )
    add_place_options(options, hardware=True)
    return options


def command(arguments: list[str] | None = None) -> None:
    chosen = make_parser().parse_args(arguments)
    source = own_source(chosen)
    chosen.dataset = source.name if source else chosen.dataset
    settings, request = settings_of(chosen), read_options(TrainingRequest, chosen)
    store = reach_store(settings)
    if source:
        show_layout(source, store, settings)
    if source and chosen.plan and not read_registration(store, source.name):
        raise PermanentError(
            f"--plan is for datasets that the store has; received the new {source.name}; ingest it first: "
            f"python -m flows.ingest --from {shlex.quote(source.uri)} --name {source.name}"
        )
    if source and not chosen.plan:
        with using(settings):
            check_ready(store)
            ingest(source.name, request.limit, source)
    plan = make_plan(request, store=store)
    if chosen.plan:
        show_plan(plan, preview(store, plan, settings.allow_cpu, settings.mirror_url))
        return
    with using(settings):
        if done := _all_done(store, plan, settings):
            print("All done before: nothing to train.")
        elif note := read_index(store, store.list(f"prepared/{plan.dataset.name}")).note():
            print(note)
        if not done:
            check_ready(store)
        try:
            report = done or train_all(**dict(request))
        except SomeModelsFailed as error:
            show_leaderboard(store, plan, error.report, settings.allow_cpu, settings.mirror_url)
            raise
        show_leaderboard(store, plan, report, settings.allow_cpu, settings.mirror_url)
        if request.promote:
            show(store, plan.dataset.name, read_history(store, plan.dataset.name).records[-1])


def _all_done(store: Store, plan: Plan, settings: Settings) -> Ref | None:
    """The report of a plan of which nothing is left to do, the comparison with the champion included."""
    done = find_report(store, plan, settings.allow_cpu, settings.mirror_url)
    if done and plan.request.promote:
        challenger, _ = challenger_of(store, done)
        return done if look_ahead(store, plan.dataset.name, challenger).done else None
    return done


if __name__ == "__main__":
    main_of(command, GO_ON)
