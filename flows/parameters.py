"""What flows take: each is a field of the form in the Prefect UI, with its choices and what it means."""

from typing import Annotated, Any

from pydantic import Field

from lib.data.datasets import DATASETS
from lib.lineage.manifests import Ref
from lib.models.recipes import RECIPES
from lib.planning.plan import Seed as AnySeed


def _shown(description: str, **more: Any) -> Any:
    # Prefect replaces a field's own description by that of a docstring, and what a schema has besides is kept.
    return Field(json_schema_extra={"description": description, **more})


Count = Annotated[int | None, Field(ge=1)]
START = "`imagenet`, `none` (a random start), or a file or s3:// address; the recipe's own if empty"

DatasetName = Annotated[str, _shown("The dataset.", enum=list(DATASETS))]
ModelName = Annotated[str, _shown("The recipe to train.", enum=list(RECIPES))]
ModelNames = Annotated[
    list[Annotated[str, _shown("A recipe.", enum=list(RECIPES))]] | None,
    _shown("The recipes to train; all of the dataset's own if empty."),
]
Epochs = Annotated[Count, _shown("At most so many epochs in each phase of a recipe.")]
Limit = Annotated[
    Count, _shown("Use so many training rows, and validation and test in proportion; never ranked with full runs.")
]
Seed = Annotated[
    AnySeed, _shown("A number, or `fresh`: the date of the run's scheduled start, the same over its retries.")
]
Overrides = Annotated[
    dict[str, str] | None,
    _shown('Fields of the recipes to override, such as {"learning_rate": "0.001", "batch_size": "64"}.'),
]
Baselines = Annotated[bool, _shown("Train the 2023 notebook's own settings too, for comparison.")]
Weights = Annotated[str | None, _shown(f"What a backbone starts from: {START}.")]
SomeWeights = Annotated[str | list[str] | None, _shown(f"What backbones start from, each if several: {START}.")]
Prepared = Annotated[Ref | None, _shown("The prepared data; made or found where this is empty.")]
