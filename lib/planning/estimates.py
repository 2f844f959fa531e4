"""How long steps take and how much they store: guesses, good to a factor of about two."""

import math
from collections.abc import Mapping

from lib.data.datasets import DatasetSpec
from lib.evaluation.comparing import comparisons
from lib.lineage.provenance import usable_cores
from lib.models.backbone_schema import IMAGENET, Backbone
from lib.models.counts import Counts
from lib.models.imagenet import IMAGENET_FILES, installed
from lib.models.schema import HEAD_UNITS, Recipe
from lib.runtime.hardware import has_gpu

CORE_FLOPS_PER_S = 45e9
GPU_FLOPS_PER_S = 10e12
BACKWARD = 2
"""Operations of a backward pass, in those of a forward pass."""
START_S = 15
SINGLE_BYTES, HALF_BYTES = 4, 2
MOST_CORRUPTED, CORRUPTED_VERSIONS = 2_000, 19
"""Of test images, by the step `robustness`."""
COMPARISONS_PER_S = 14e6
"""Of images by a backbone's features, on one core."""


def seconds_of(kind: str, recipe: Recipe, counts: Counts | None, rows: Mapping[str, int]) -> float | None:
    """Seconds that the step `kind` takes for a recipe of `counts` on so many rows of each split; None: not known."""
    if counts is None or kind not in ESTIMATES:
        return None
    gpu = recipe.runs_on == "gpu" and has_gpu()
    flops_per_s = GPU_FLOPS_PER_S if gpu else CORE_FLOPS_PER_S * usable_cores()
    return START_S + ESTIMATES[kind](recipe, counts, rows) / flops_per_s


def seconds_to_compare(rows: Mapping[str, int]) -> float | None:
    """Seconds that near duplicates among so many rows of each split take; None: about one."""
    seconds = comparisons(rows) / (COMPARISONS_PER_S * usable_cores())
    return seconds if seconds >= 1 else None


def stored_bytes(
    kind: str, spec: DatasetSpec, rows: Mapping[str, int], recipe: Recipe | None = None, counts: Counts | None = None
) -> int:
    """What the output of the step `kind` adds to the store, roughly; 0 where it is small or not known."""
    classes = len(spec.class_names)
    if kind == "dataset":
        return sum(spec.rows.values()) * math.prod(spec.image_shape)
    if recipe is None or counts is None:
        return 0
    if kind == "features":
        views = 2 if recipe.augmentation.flip else 1
        # Nearly all weights of a head lead from the features to its first layer.
        units = HEAD_UNITS.get(recipe.network)
        features = counts.trainable // units - classes if units else counts.trainable // classes
        width = max(features, 0) / len(recipe.backbones)
        return round(sum(rows.values()) * views * HALF_BYTES * width)
    return {
        "model": SINGLE_BYTES * counts.parameters,
        "evaluation": SINGLE_BYTES * classes * (rows["validation"] + rows["test"]),
    }.get(kind, 0)


def fetched_bytes(kind: str, spec: DatasetSpec, backbone: Backbone | None = None) -> int:
    """What the step `kind` fetches at most, from a publisher or a mirror."""
    if kind == "dataset":
        return sum(file.max_bytes for file in spec.files)
    if kind == "weights" and backbone and backbone.weights == IMAGENET:
        first = IMAGENET_FILES[backbone.name][0]
        return 0 if installed(first) else first.max_bytes
    return 0


def split_rows(spec: DatasetSpec, limit: int | None) -> dict[str, int]:
    """Rows in each split, roughly, before the data are prepared."""
    train = spec.rows["train"] - spec.validation_rows
    return {"train": min(train, limit or train), "validation": spec.validation_rows, "test": spec.rows["test"]}


def _features_flops(recipe: Recipe, counts: Counts, rows: Mapping[str, int]) -> float:
    """Of one backbone, as if each did as much."""
    return counts.flops * sum(rows.values()) / len(recipe.backbones)


def _training_flops(recipe: Recipe, counts: Counts, rows: Mapping[str, int]) -> float:
    """Forward and backward over train each epoch, forward over validation."""
    total, views = 0.0, 2 if recipe.both_views else 1  # counted of the finished model, trained on one
    for phase in recipe.phases:
        forward = 2 * counts.trainable if recipe.frozen else counts.flops / views
        moved = 0 if phase.trains == "head" else forward
        total += phase.epochs * (forward * (rows["train"] + rows["validation"]) + BACKWARD * moved * rows["train"])
    return total


def _evaluation_flops(recipe: Recipe, counts: Counts, rows: Mapping[str, int]) -> float:
    return (2 * counts.trainable if recipe.frozen else counts.flops) * sum(rows.values())


def _robustness_flops(recipe: Recipe, counts: Counts, rows: Mapping[str, int]) -> float:
    return counts.flops * min(MOST_CORRUPTED, rows["test"]) * CORRUPTED_VERSIONS


ESTIMATES = {
    "features": _features_flops,
    "model": _training_flops,
    "evaluation": _evaluation_flops,
    "robustness": _robustness_flops,
}
