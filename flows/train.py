"""Train a dataset's models and rank them: `python -m flows.train --dataset cifar100`.

Finished work is found in the store and not done again.
"""

from prefect import flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.command import (
    WEIGHTS_HELP,
    add_data_options,
    add_training_options,
    main_of,
    recipe_names,
)
from flows.ingest import ingest
from flows.parameters import (
    Baselines,
    DatasetName,
    Epochs,
    Limit,
    ModelNames,
    Overrides,
    Seed,
    SomeWeights,
)
from flows.tables import show_leaderboard, show_plan
from flows.train_model import train_model
from lib.command_line import add_store_option, parser
from lib.errors import NoGpu, SomeModelsFailed
from lib.lineage.manifests import Ref
from lib.planning.plan import find_report, make_plan
from lib.planning.preview import preview
from lib.settings import read_settings
from tasks.inputs import untraced
from tasks.launching import train_models
from tasks.publishing import publish_report
from tasks.retries import with_retries
from tasks.storage import settings_store


@flow(name="train-all", flow_run_name="train all on {dataset}")
def train_all(
    dataset: DatasetName = "digits",
    models: ModelNames = None,
    epochs: Epochs = None,
    limit: Limit = None,
    seed: Seed = 0,
    overrides: Overrides = None,
    baselines: Baselines = False,
    weights: SomeWeights = None,
) -> Ref:
    """Ingest, prepare, train each model, evaluate, report. Returns the report's ref.

    Models that need a GPU which is not there are left out with a warning. One model failing loses one model: the
    others are reported on, then SomeModelsFailed names it.
    """
    plan = make_plan(dataset, models, epochs, limit, seed, overrides, baselines, weights, flow_run.scheduled_start_time)
    prepared = ingest(dataset, limit)
    common = {"epochs": epochs, "limit": limit, "seed": plan.seed, "overrides": overrides, "prepared": prepared}
    asked = {
        recipe: {
            "dataset": dataset,
            "model": recipe.name,
            "weights": recipe.backbone.weights if recipe.backbone else None,
            **common,
        }
        for recipe in plan.recipes
    }
    outcomes = train_models(train_model, plan, prepared, asked)
    evaluations = [outcome for outcome in outcomes.values() if isinstance(outcome, Ref)]
    errors = {title: outcome for title, outcome in outcomes.items() if isinstance(outcome, BaseException)}
    failures = {title: error for title, error in errors.items() if not isinstance(error, NoGpu)}
    if not evaluations:
        raise next(iter((failures or errors).values()))
    report = with_retries(publish_report)(dataset, untraced(prepared), untraced(evaluations))
    for error in errors.values():
        get_run_logger().warning("no result: %s", error)
    if failures:
        raise SomeModelsFailed("; ".join(f"{title}: {error}" for title, error in failures.items()))
    return report


def command(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    add_data_options(options)
    options.add_argument(
        "--models",
        nargs="+",
        metavar="NAME",
        help=f"recipes to train (default: the dataset's own); {recipe_names()}",
    )
    options.add_argument("--baselines", action="store_true", help="train the 2023 notebook's settings too")
    options.add_argument(
        "--weights",
        nargs="+",
        metavar="START",
        help=f"what backbones start from, each if several: {WEIGHTS_HELP}",
    )
    options.add_argument(
        "--plan", action="store_true", help="say what would run and why, with sizes and times, and run nothing"
    )
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
        chosen.weights,
    )
    store, plan, allow_cpu = settings_store(), make_plan(*asked), read_settings().allow_cpu
    if chosen.plan:
        show_plan(plan, preview(store, plan, allow_cpu))
        return
    if done := find_report(store, plan, allow_cpu):
        print("All done before: nothing to train.")
    show_leaderboard(store, plan, done or train_all(*asked))


if __name__ == "__main__":
    main_of(command)
