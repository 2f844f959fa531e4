"""What a run would do, and why, told from the store alone: nothing runs, and TensorFlow is not loaded."""

import math
import os
from dataclasses import dataclass
from typing import Any, Literal

from lib.lineage.manifests import MANIFEST, Manifest, Ref, find
from lib.lineage.steps import (
    checkpoints_address,
    dataset_address,
    evaluation_address,
    features_address,
    prepared_address,
    report_address,
)
from lib.models.counts import Counts, find_counts
from lib.models.schema import RANDOM, Recipe
from lib.models.weights import find_weights
from lib.planning.plan import Plan, find_model_address
from lib.runtime.hardware import WHY_LEFT_OUT, can_run_here, has_gpu
from lib.store import Store

CORE_FLOPS_PER_S = 45e9
GPU_FLOPS_PER_S = 10e12
BACKWARD = 2
"""Operations of a backward pass, in those of a forward pass."""
START_S = 15

State = Literal["done", "would run", "would resume", "left out"]
NOT_THERE = "not in the store yet"


@dataclass(frozen=True)
class Step:
    """One step of a run: what would become of it, and why."""

    name: str
    state: State
    why: str = ""
    counts: Counts | None = None
    seconds: float | None = None
    """Of work still to do: a guess from floating-point operations, good to a factor of about two."""


def preview(store: Store, plan: Plan, allow_cpu: bool) -> list[Step]:
    """Each step of `plan` in the order in which it would run."""
    dataset = find(store, dataset_address(plan.dataset))
    steps = [_step(f"ingest {plan.dataset.name}", bool(dataset), NOT_THERE)]
    address = prepared_address(plan.dataset, dataset[0], plan.limit) if dataset else None
    prepared = find(store, address) if address else None
    steps.append(_step(f"prepare {plan.dataset.name}", bool(prepared), _why_prepare(store, plan)))
    evaluations = []
    for recipe in plan.recipes:
        found, evaluation = _model_steps(store, plan, recipe, prepared, allow_cpu)
        steps += found
        evaluations += [evaluation] if evaluation else []
    reported = prepared and evaluations and find(store, report_address(plan.dataset.name, prepared[0], evaluations))
    complete = all(step.state in {"done", "left out"} for step in steps)
    return [*steps, _step("report", bool(reported) and complete, "its models are not all done" * (not complete))]


def _model_steps(
    store: Store, plan: Plan, recipe: Recipe, prepared: tuple[Ref, Manifest] | None, allow_cpu: bool
) -> tuple[list[Step], Ref | None]:
    """The steps of one recipe, and its evaluation where that is done."""
    counts, name = find_counts(plan.dataset.name, recipe), f"train {recipe.title}"
    address = find_model_address(store, plan, recipe, prepared[0]) if prepared else None
    if model := address and find(store, address):
        if done := find(store, evaluation_address(plan.dataset.name, recipe.name, model[0])):
            return [Step(name, "done", counts=counts)], done[0]
        return [Step(name, "would run", "trained, but not evaluated", counts, START_S)], None
    if not can_run_here(recipe, allow_cpu):
        return [Step(name, "left out", WHY_LEFT_OUT, counts)], None
    rows = prepared[1].facts["rows"] if prepared else _rows(plan)
    steps = _backbone_steps(store, plan, recipe, prepared, _feature_seconds(recipe, counts, rows))
    seconds = _training_seconds(recipe, counts, rows)
    if address and (epoch := _resumes_after(store, address)) is not None:
        return [*steps, Step(name, "would resume", f"after epoch {epoch} of {recipe.epochs}", counts, seconds)], None
    return [*steps, Step(name, "would run", _why_train(store, plan, recipe, prepared), counts, seconds)], None


def _backbone_steps(
    store: Store, plan: Plan, recipe: Recipe, prepared: tuple[Ref, Manifest] | None, seconds: float | None
) -> list[Step]:
    """Weights and features that the recipe's training needs."""
    if recipe.backbone is None:
        return []
    steps, weights, random = [], find_weights(store, recipe.backbone), recipe.backbone.weights == RANDOM
    if not random:
        remote = recipe.backbone.weights.startswith("s3://")
        why = f"a plan does not read {recipe.backbone.weights}" if remote else NOT_THERE
        steps.append(_step(f"ingest weights of {recipe.backbone.name}", bool(weights), why))
    if recipe.backbone.frozen:
        there = None
        if prepared and (random or weights):
            there = find(store, features_address(plan.dataset.name, recipe, prepared[0], plan.seed, weights))
        steps.append(_step(f"compute features for {recipe.title}", bool(there), NOT_THERE, seconds))
    return steps


def _step(name: str, done: bool, why: str, seconds: float | None = None) -> Step:
    return Step(name, "done") if done else Step(name, "would run", why, seconds=seconds)


def _why_prepare(store: Store, plan: Plan) -> str:
    last = _latest(store, f"prepared/{plan.dataset.name}")
    if last is None:
        return NOT_THERE
    if last.facts["limit"] != plan.limit:
        return f"limit {_said(last.facts['limit'])} → {_said(plan.limit)}"
    return "the dataset, or the code that prepares it, has changed"


def _why_train(store: Store, plan: Plan, recipe: Recipe, prepared: tuple[Ref, Manifest] | None) -> str:
    """Which inputs differ from those of the recipe's newest model."""
    last = _latest(store, f"models/{plan.dataset.name}/{recipe.name}")
    if last is None:
        return "never trained"
    changes = _differences(last.facts["recipe"], recipe.resolved())
    if last.facts["seed"] != plan.seed:
        changes.append(f"seed {last.facts['seed']} → {plan.seed}")
    if last.facts["limit"] != plan.limit:
        changes.append(f"limit {_said(last.facts['limit'])} → {_said(plan.limit)}")
    elif prepared is None or last.inputs["prepared"] != prepared[0]:
        changes.append("the prepared data")
    if recipe.backbone and last.inputs.get("weights") != find_weights(store, recipe.backbone):
        changes.append(f"weights {last.facts['weights']} → {recipe.backbone.weights}")
    return "; ".join(changes) or "the code that trains has changed"


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    """`phases.0.epochs 20 → 5` for each leaf that differs."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        old, new = (dict(enumerate(each)) for each in (old, new))
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [f"{path} {_said(old)} → {_said(new)}"]
    keys = dict.fromkeys([*old, *new])
    return [
        change for key in keys for change in _differences(old.get(key), new.get(key), f"{path}.{key}".removeprefix("."))
    ]


def _said(value: Any) -> str:
    return "none" if value is None else str(value)


def _latest(store: Store, prefix: str) -> Manifest | None:
    """The output under `prefix` that was made last."""
    addresses = [path.removesuffix(f"/{MANIFEST}") for path in store.list(prefix) if path.endswith(f"/{MANIFEST}")]
    found = [output[1] for address in addresses if (output := find(store, address))]
    return max(found, key=lambda manifest: str(manifest.made_by.get("at", "")), default=None)


def _resumes_after(store: Store, model: str) -> int | None:
    saved = [path for path in store.list(checkpoints_address(model)) if path.endswith(".npz")]
    return int(saved[-1].rsplit("/", 1)[1].split(".")[0]) if saved else None


def _rows(plan: Plan) -> dict[str, int]:
    """Rows in each split, roughly, before the data are prepared."""
    train = plan.dataset.rows["train"] - plan.dataset.validation_rows
    full = {"train": train, "validation": plan.dataset.validation_rows, "test": plan.dataset.rows["test"]}
    share = min(1.0, (plan.limit or train) / train)
    return {split: math.ceil(rows * share) for split, rows in full.items()}


def _feature_seconds(recipe: Recipe, counts: Counts | None, rows: dict[str, int]) -> float | None:
    return None if counts is None else START_S + counts.flops * sum(rows.values()) / _flops_per_s(recipe)


def _training_seconds(recipe: Recipe, counts: Counts | None, rows: dict[str, int]) -> float | None:
    """Forward and backward over train each epoch, forward over validation, and once over all to evaluate."""
    if counts is None:
        return None
    head = 2 * counts.trainable
    frozen = recipe.backbone is not None and recipe.backbone.frozen
    total = 0.0 if frozen else float(counts.flops * sum(rows.values()))
    for phase in recipe.phases:
        forward = head if frozen else counts.flops
        moved = 0 if phase.trains == "head" else forward
        total += phase.epochs * (forward * (rows["train"] + rows["validation"]) + BACKWARD * moved * rows["train"])
    return START_S + total / _flops_per_s(recipe)


def _flops_per_s(recipe: Recipe) -> float:
    gpu = recipe.runs_on == "gpu" and has_gpu()
    return GPU_FLOPS_PER_S if gpu else CORE_FLOPS_PER_S * len(os.sched_getaffinity(0))
