"""How long steps take: guesses from floating-point operations, good to a factor of about two."""

import os
from collections.abc import Mapping

from lib.data.datasets import DatasetSpec
from lib.models.counts import Counts
from lib.models.schema import Recipe
from lib.runtime.hardware import has_gpu

CORE_FLOPS_PER_S = 45e9
GPU_FLOPS_PER_S = 10e12
BACKWARD = 2
"""Operations of a backward pass, in those of a forward pass."""
START_S = 15


def seconds_of(kind: str, recipe: Recipe, counts: Counts | None, rows: Mapping[str, int]) -> float | None:
    """Seconds that the step `kind` takes for a recipe of `counts` on so many rows of each split; None: not known."""
    if counts is None or kind not in ESTIMATES:
        return None
    gpu = recipe.runs_on == "gpu" and has_gpu()
    flops_per_s = GPU_FLOPS_PER_S if gpu else CORE_FLOPS_PER_S * len(os.sched_getaffinity(0))
    return START_S + ESTIMATES[kind](recipe, counts, rows) / flops_per_s


def split_rows(spec: DatasetSpec, limit: int | None) -> dict[str, int]:
    """Rows in each split, roughly, before the data are prepared."""
    train = spec.rows["train"] - spec.validation_rows
    return {"train": min(train, limit or train), "validation": spec.validation_rows, "test": spec.rows["test"]}


def _features_flops(recipe: Recipe, counts: Counts, rows: Mapping[str, int]) -> float:
    return counts.flops * sum(rows.values())


def _training_flops(recipe: Recipe, counts: Counts, rows: Mapping[str, int]) -> float:
    """Forward and backward over train each epoch, forward over validation."""
    total = 0.0
    for phase in recipe.phases:
        forward = 2 * counts.trainable if recipe.frozen else counts.flops
        moved = 0 if phase.trains == "head" else forward
        total += phase.epochs * (forward * (rows["train"] + rows["validation"]) + BACKWARD * moved * rows["train"])
    return total


def _evaluation_flops(recipe: Recipe, counts: Counts, rows: Mapping[str, int]) -> float:
    return (2 * counts.trainable if recipe.frozen else counts.flops) * sum(rows.values())


ESTIMATES = {"features": _features_flops, "model": _training_flops, "evaluation": _evaluation_flops}
