"""Write the generated pages of this folder: `make docs`. A test compares them with what this would write."""

from collections.abc import Callable
from pathlib import Path

from docs.markdown import HEADER, table
from docs.reference import cli_page, configuration_page
from lib.command_line import parser
from lib.data.datasets import DATASETS, DatasetSpec
from lib.models import counts, layers
from lib.models.changes import start_of
from lib.models.recipes import RECIPES
from lib.models.schema import Phase, Recipe

FOLDER = Path(__file__).parent

RECIPES_INTRODUCTION = """# Recipes

A recipe is all that decides what a training gives, apart from data and seed. To add one, write a literal in
`lib/models/recipes.py`, then run `make docs`. `--set KEY=VALUE` overrides a field for one run.

"""
DATASETS_INTRODUCTION = """# Datasets

Your own images need no code: [own-images.md](own-images.md). To add a built-in dataset, write a literal in
`lib/data/datasets.py`, then run `make docs`. Validation images are taken out of the
publisher's training images. Training images that equal a test image are left out, and counted in the report.

"""


def recipes_page() -> str:
    """One row a recipe, from the literals in lib/models/recipes.py and the table of counts."""
    head = ("recipe", "datasets", "what it is", "training", "parameters", "runs on")
    rows = [_recipe_row(recipe) for recipe in RECIPES.values()]
    return HEADER.format(source="lib/models/recipes.py") + RECIPES_INTRODUCTION + table(head, *rows)


def datasets_page() -> str:
    """One row a dataset, from the literals in lib/data/datasets.py."""
    head = ("dataset", "title", "images", "classes", "train", "validation", "test", "licence", "source")
    rows = [_dataset_row(spec) for spec in DATASETS.values()]
    return HEADER.format(source="lib/data/datasets.py") + DATASETS_INTRODUCTION + table(head, *rows)


def _recipe_row(recipe: Recipe) -> tuple[str, ...]:
    sizes = {f"{size.parameters:,}": None for name in recipe.datasets if (size := counts.find_counts(name, recipe))}
    return (
        f"`{recipe.name}`",
        ", ".join(f"`{name}`" for name in recipe.datasets),
        recipe.description + (f" Starts from {start_of(recipe.backbone.weights)}." if recipe.backbone else ""),
        "; ".join(_phase(phase) for phase in recipe.phases),
        ", ".join(sizes),
        recipe.runs_on.upper(),
    )


def _phase(phase: Phase) -> str:
    what = "the head" if phase.trains == "head" else "all"
    return f"{phase.epochs} epochs of {what}, {phase.optimizer} at {phase.learning_rate:g}, {phase.schedule}"


def _dataset_row(spec: DatasetSpec) -> tuple[str, ...]:
    classes = f"{len(spec.class_names)}"
    if spec.superclass_names:
        classes += f" in {len(spec.superclass_names)} superclasses"
    rows = (spec.rows["train"] - spec.validation_rows, spec.validation_rows, spec.rows["test"])
    return (
        f"`{spec.name}`",
        spec.title,
        "×".join(map(str, spec.image_shape)),
        classes,
        *(f"{count:,}" for count in rows),
        spec.licence,
        spec.source,
    )


PAGES: dict[str, Callable[[], str]] = {
    "recipes.md": recipes_page,
    "datasets.md": datasets_page,
    "cli.md": cli_page,
    "configuration.md": configuration_page,
}


def main() -> None:
    counts.update(counts.read_counts())
    layers.update(layers.read_layers())
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())


if __name__ == "__main__":
    parser(__doc__).parse_args()
    main()
