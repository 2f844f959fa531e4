"""Train a data set's models and rank them: `python -m flows.train --dataset cifar100`.

Finished work is found in the store and not done again.
"""

from prefect import flow
from prefect.runtime import flow_run
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from flows.command import add_data_options, add_store_option, add_training_options, main_of, parser, recipe_names
from flows.ingest import ingest
from flows.train_model import Count, train_model
from lib.errors import SomeModelsFailed
from lib.manifests import Ref, load
from lib.plan import Seed, find_report, make_plan
from lib.reporting.report import leaderboard_table, report_url
from lib.store import Store
from tasks.publishing import publish_report
from tasks.retries import with_retries
from tasks.storage import settings_store

SHOWN_COLUMNS = ("Rank", "Model", "Dev accuracy", "Test accuracy", "Test loss", "Parameters")


@flow(name="train-all", flow_run_name="train all on {dataset}")
def train_all(
    dataset: str = "digits",
    models: list[str] | None = None,
    epochs: Count = None,
    limit: Count = None,
    seed: Seed = 0,
    overrides: dict[str, str] | None = None,
    baselines: bool = False,
) -> Ref:
    """Ingest, prepare, train each model, evaluate, report. Returns the report's ref.

    One model failing loses one model: the others are reported on, then SomeModelsFailed names it.
    """
    plan = make_plan(dataset, models, epochs, limit, seed, overrides, baselines, flow_run.scheduled_start_time)
    prepared = ingest(dataset, limit)
    evaluations: list[Ref] = []
    failures: dict[str, BaseException] = {}
    for recipe in plan.recipes:
        state = train_model(dataset, recipe.name, epochs, limit, plan.seed, overrides, prepared, return_state=True)
        outcome = state.result(raise_on_failure=False)
        if isinstance(outcome, Ref):
            evaluations.append(outcome)
        else:
            failures[recipe.name] = outcome
    if failures and not evaluations:
        raise next(iter(failures.values()))
    report = with_retries(publish_report)(dataset, prepared, evaluations)
    if failures:
        raise SomeModelsFailed("; ".join(f"{name}: {error}" for name, error in failures.items()))
    return report


def command(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    add_data_options(options)
    options.add_argument(
        "--models",
        nargs="+",
        metavar="NAME",
        help=f"recipes to train (default: the data set's own); {recipe_names()}",
    )
    options.add_argument("--baselines", action="store_true", help="train the 2023 notebook's settings too")
    add_training_options(options)
    add_store_option(options)
    chosen = options.parse_args(arguments)
    asked = (
        chosen.dataset,
        chosen.models,
        chosen.epochs,
        chosen.limit,
        chosen.seed,
        dict(chosen.set),
        chosen.baselines,
    )
    store = settings_store()
    if done := find_report(store, make_plan(*asked)):
        print("All done before: nothing to train.")
    show(store, done or train_all(*asked))


def show(store: Store, report: Ref) -> None:
    """Print the leaderboard and where the report is."""
    rows = leaderboard_table(store, report)
    table = Table(
        box=SIMPLE_HEAD, title=f"Leaderboard of {load(store, report).facts['dataset']}, ranked by dev accuracy"
    )
    for name in SHOWN_COLUMNS:
        table.add_column(name, justify="left" if name == "Model" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(row[name] for name in SHOWN_COLUMNS))
    Console().print(table)
    print(f"Report: {report_url(store, report)}")


if __name__ == "__main__":
    main_of(command)
