"""Train and evaluate one recipe: `python -m flows.train_model --dataset digits --model digits-cnn`.

The unit that a worker runs.
"""

from prefect import flow
from prefect.runtime import flow_run

from flows.command import (
    WEIGHTS_HELP,
    add_data_options,
    add_training_options,
    main_of,
    recipe_names,
)
from flows.ingest import ingest
from flows.parameters import DatasetName, Epochs, Limit, ModelName, Overrides, Prepared, Seed, Weights
from lib.command_line import add_store_option, parser
from lib.lineage.manifests import Ref, load
from lib.models.recipes import RECIPES
from lib.planning.plan import find_evaluation, find_prepared, make_plan
from lib.runtime.hardware import require_hardware
from lib.settings import read_settings
from tasks.evaluation import evaluate_model
from tasks.ingestion import ingest_backbone
from tasks.inputs import untraced
from tasks.retries import with_retries
from tasks.storage import settings_store
from tasks.training import compute_features, train_recipe
from tasks.workers import work_pool


def _run_name() -> str:
    asked = flow_run.parameters
    recipe = RECIPES.get(asked["model"])
    title = recipe.starting_from(asked["weights"]).title if recipe and asked.get("weights") else asked["model"]
    return f"train {title} on {asked['dataset']}"


@flow(name="train-model", flow_run_name=_run_name)
def train_model(
    dataset: DatasetName,
    model: ModelName,
    epochs: Epochs = None,
    limit: Limit = None,
    seed: Seed = 0,
    overrides: Overrides = None,
    weights: Weights = None,
    prepared: Prepared = None,
) -> Ref:
    """Train `model` on `dataset`, preparing the data first where `prepared` is not given. Returns the evaluation."""
    plan = make_plan(
        dataset, [model], epochs, limit, seed, overrides, weights=weights, today=flow_run.scheduled_start_time
    )
    (recipe,) = plan.recipes
    prepared = prepared or ingest(dataset, limit)
    if done := find_evaluation(settings_store(), plan, recipe, prepared):
        return done
    require_hardware(recipe, read_settings().allow_cpu, work_pool())
    start = with_retries(ingest_backbone)(recipe.backbone) if recipe.backbone else None
    frozen = recipe.backbone and recipe.backbone.frozen
    features = with_retries(compute_features)(recipe, untraced(prepared), plan.seed, start) if frozen else None
    trained = with_retries(train_recipe)(recipe, untraced(prepared), plan.seed, start, features)
    return with_retries(evaluate_model)(recipe, trained)


def command(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--model", required=True, metavar="NAME", help=recipe_names())
    add_data_options(options)
    add_training_options(options)
    options.add_argument("--weights", metavar="START", help=f"what a backbone starts from: {WEIGHTS_HELP}")
    add_store_option(options)
    chosen = options.parse_args(arguments)
    asked = (chosen.epochs, chosen.limit, chosen.seed, dict(chosen.set))
    plan = make_plan(chosen.dataset, [chosen.model], *asked, weights=chosen.weights)
    store = settings_store()
    prepared = find_prepared(store, plan.dataset, plan.limit)
    done = find_evaluation(store, plan, plan.recipes[0], prepared) if prepared else None
    evaluation = done or train_model(chosen.dataset, chosen.model, *asked, chosen.weights)
    metrics = load(store, evaluation).facts["metrics"]
    accuracies = ", ".join(f"{metrics[split]['accuracy']:.4f} on {split}" for split in ("train", "validation", "test"))
    print(f"{chosen.model} {'was trained before' if done else 'is trained'}: accuracy {accuracies}")
    print(f"{store.uri}/{evaluation.uri}")


if __name__ == "__main__":
    main_of(command)
