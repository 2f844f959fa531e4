"""Parameters and floating-point operations of each recipe's network, as a table that is read without TensorFlow.

`make docs` adds what is missing, `python -m lib.models.counts` counts all anew; a test holds it true.
"""

import argparse
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lib.data.datasets import DATASETS
from lib.models.recipes import RECIPES
from lib.models.schema import Recipe

TABLE = Path(__file__).with_suffix(".json")


class Counts(BaseModel):
    """What a recipe's network has for the images and classes of one dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: int
    trainable: int
    """Of them, those that training moves: not BatchNorm's statistics, nor a frozen backbone."""
    flops: int
    """Floating-point operations to classify one image; a multiplication and an addition are two."""


@cache
def read_counts() -> dict[str, dict[str, Counts]]:
    """Dataset → recipe → counts."""
    table = json.loads(TABLE.read_text())
    return {data: {name: Counts(**counts) for name, counts in each.items()} for data, each in table.items()}


def find_counts(dataset: str, recipe: Recipe) -> Counts | None:
    """The counts of `recipe` on `dataset`, or None where the table has none of this very network."""
    listed = RECIPES.get(recipe.name)
    if listed is None or (listed.network, _without_weights(listed)) != (recipe.network, _without_weights(recipe)):
        return None
    return read_counts().get(dataset, {}).get(recipe.name)


def _without_weights(recipe: Recipe) -> object:
    resolved = recipe.resolved()
    return resolved.get("backbone"), resolved.get("beside")


def count(recipe: Recipe, image_shape: tuple[int, int, int], classes: int) -> Counts:
    """Build the network and count. Loads TensorFlow."""
    import numpy as np

    from lib.models.networks import build

    model = build(recipe, image_shape, classes)
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    return Counts(parameters=model.count_params(), trainable=trainable, flops=count_flops(model))


def count_flops(model: Any) -> int:
    """Of one image, by a Keras model that takes raw images. Loads TensorFlow."""
    import tensorflow as tf

    graph = tf.function(model).get_concrete_function(tf.TensorSpec((1, *model.input_shape[1:]), tf.uint8)).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder(tf.compat.v1.profiler.ProfileOptionBuilder.float_operation())
    profile = tf.compat.v1.profiler.profile(graph, cmd="op", options=options.with_empty_output().build())
    return int(profile.total_float_ops)


def update(known: Mapping[str, Mapping[str, Counts]]) -> None:
    """Write the table anew: `known` counts as they are, and what is missing among them counted."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    table: dict[str, dict[str, object]] = {}
    for name, spec in DATASETS.items():
        for recipe in (each for each in RECIPES.values() if name in each.datasets):
            listed = known.get(name, {}).get(recipe.name)
            counts = listed or count(recipe, spec.image_shape, len(spec.class_names))
            table.setdefault(name, {})[recipe.name] = counts.model_dump()
    TABLE.write_text(json.dumps(table, indent=2) + "\n")
    read_counts.cache_clear()


def make_parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="python -m lib.models.counts",
        description="Count the parameters and operations of each recipe's network, and write lib/models/counts.json. "
        "This takes half a minute; `make docs` counts only what the table lacks.",
    )


if __name__ == "__main__":
    make_parser().parse_args()
    update({})
