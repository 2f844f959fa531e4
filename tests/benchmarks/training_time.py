"""Measure what a recipe's whole training takes: `python -m tests.benchmarks.training_time RECIPE DATASET`.

It trains 50 steps at each size of images that the recipe has, after 50 others, and multiplies. Processor seconds of all
threads, validation not included. The dataset must be in the store (STORE_URI), and the recipe have one phase and no
backbone.
"""

import sys
import time
from typing import Any

from lib.data.rows import Rows, read_rows
from lib.models.networks import build_for_training
from lib.models.recipes import RECIPES
from lib.models.schema import Recipe, Size
from lib.training.batches import PaddedImages, TrainingImages
from lib.training.devices import prepare_keras
from lib.training.fit import Trainer
from tests.benchmarks.measuring import given
from tests.benchmarks.reading import prepared

STEPS = 50


class Measured(Exception):
    """Ends a training after its second epoch."""


def seconds_of_steps(recipe: Recipe, px: int, rows: dict[str, Rows], classes: int) -> float:
    """Processor seconds of STEPS steps on images of `px`."""
    phase = recipe.phases[0]
    full = rows["train"].images.shape[1]
    sizes = (Size(epochs=2, px=px),) if px < full else ()
    short = recipe.model_copy(update={"phases": (phase.model_copy(update={"epochs": 3, "sizes": sizes}),)})
    some = STEPS * recipe.batch_size
    padded = PaddedImages.of(rows["train"].images[:some], recipe.augmentation)
    images = TrainingImages(padded, rows["train"].labels[:some], recipe.batch_size, 0)
    ends: list[float] = []

    def emit(event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            ends.append(time.process_time())
            if len(ends) == 2:
                raise Measured

    model = build_for_training(short, rows["train"].images.shape[1:], classes, seed=0)
    validation = rows["validation"].images[:100], rows["validation"].labels[:100]
    trainer = Trainer(short, model, images, validation, 0, emit, 600)
    trainer.start(None)
    try:
        trainer.run(lambda state: None, interval_s=1e9)
    except Measured:
        return ends[1] - ends[0]
    raise AssertionError("it has two epochs at least")


def main() -> None:
    what = given(__doc__)
    if len(what) != 2 or what[0] not in RECIPES:
        sys.exit("error: RECIPE and DATASET must be named: python -m tests.benchmarks.training_time --help")
    recipe, (store, data) = RECIPES[what[0]], prepared(what[1])
    (phase,) = recipe.phases
    prepare_keras(recipe, allow_cpu=False)
    rows = read_rows(store, data, ("train", "validation"))
    steps = -(-len(rows["train"].labels) // recipe.batch_size)
    smaller = sum(size.epochs for size in phase.sizes)
    at = [(each.px, each.epochs) for each in phase.sizes] + [(data.facts["image_shape"][0], phase.epochs - smaller)]
    minutes = 0.0
    for px, epochs in at:
        seconds = seconds_of_steps(recipe, px, rows, len(data.facts["class_names"])) * steps / STEPS
        minutes += seconds * epochs / 60
        print(f"{epochs:3} epochs at {px} px: {seconds:.0f} processor seconds each", flush=True)
    print(f"{recipe.name}: {minutes:.0f} processor minutes in all")


if __name__ == "__main__":
    main()
