"""What a run would do, and why, told from the store alone: nothing runs, and TensorFlow is not loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from lib.data.datasets import DatasetSpec
from lib.evaluation.comparing import too_many
from lib.lineage.index import newest
from lib.lineage.manifests import Manifest, Ref
from lib.lineage.steps import STEPS, checkpoints_address
from lib.models.changes import differences, said
from lib.models.counts import Counts, find_counts
from lib.models.schema import Recipe, settings_of
from lib.models.weights import find_weights
from lib.planning.estimates import fetched_bytes, seconds_of, seconds_to_compare, split_rows, stored_bytes
from lib.planning.outputs import (
    Output,
    data_beside,
    dataset_outputs,
    model_outputs,
    report_output,
    why_left_out,
)
from lib.planning.plan import Plan, Trial
from lib.store import Store

State = Literal["done", "would run", "would resume", "left out"]
NOT_THERE = "not in the store yet"


@dataclass(frozen=True)
class Line:
    """One step of a run: what would become of it, and why."""

    name: str
    state: State
    why: str = ""
    counts: Counts | None = None
    seconds: float | None = None
    """Of work still to do: a guess from floating-point operations, good to a factor of about two."""
    fetched_bytes: int = 0
    """At most, of work still to do."""
    stored_bytes: int = 0
    """Roughly, of work still to do."""


def preview(store: Store, plan: Plan, allow_cpu: bool, mirror_url: str | None = None) -> list[Line]:
    """Each step of `plan` in the order in which it would run."""
    outputs = dataset_outputs(store, plan.dataset, plan.limit)
    reasons = {"prepared": _why_prepare(store, plan)}
    rows = split_rows(plan.dataset, plan.limit)
    lines = [
        _sized(_line(output, reasons.get(output.step.kind, NOT_THERE)), output, plan.dataset, rows)
        for output in outputs
    ]
    if store.list(f"raw/{plan.dataset.name}"):
        lines[0] = replace(lines[0], fetched_bytes=0)
    prepared, evaluations, left_out, beside = outputs[-1], list[Ref](), list[Trial](), list[Ref]()
    for trial in plan.trials:
        made = model_outputs(store, plan, trial, prepared.ref)
        why = why_left_out(store, trial.recipe, allow_cpu, mirror_url)
        known = {line.name for line in lines}  # several trials share weights and features
        lines += [line for line in _model_lines(store, plan, trial, prepared, made, why) if line.name not in known]
        found = [each.ref for each in made if each.step.kind == "evaluation" and each.ref]
        evaluations += found
        beside += [each.ref for each in made if each.step.asked_by and each.ref]
        left_out += [] if found else [trial]
    of_data = data_beside(store, plan, prepared.ref) if prepared.ref else []
    lines.append(_duplicates_line(plan, of_data, prepared.manifest.facts["rows"] if prepared.manifest else rows, lines))
    if not (prepared.ref and evaluations and all(line.state in {"done", "left out"} for line in lines)):
        return [*lines, Line(f"report on {plan.dataset.name}", "would run", "its models are not all done")]
    titles, shown = (
        [*plan.by_title(dict.fromkeys(left_out, ""))],
        [*beside, *(each.ref for each in of_data if each.ref)],
    )
    return [*lines, _line(report_output(store, plan, prepared.ref, evaluations, titles, shown), NOT_THERE)]


def _duplicates_line(plan: Plan, found: list[Output], rows: Mapping[str, int], lines: list[Line]) -> Line:
    """Near duplicates, which are looked for after the steps of `lines`, by features that these have made."""
    does = STEPS["duplicates"].does.format(dataset_name=plan.dataset.name)
    if not plan.request.duplicates and (why := too_many(rows)):
        return Line(does, "left out", why)
    why, done = NOT_THERE, found[0].manifest if found else None
    if done and done.facts["features"] is None and any(line.name.startswith("compute features ") for line in lines):
        why, done = "found by pixels, and now by features", None
    return Line(does, "done") if done else Line(does, "would run", why, seconds=seconds_to_compare(rows))


def _model_lines(
    store: Store, plan: Plan, trial: Trial, prepared: Output, outputs: list[Output], left_out: str
) -> list[Line]:
    """The steps of one training."""
    recipe = trial.recipe
    counts = find_counts(plan.dataset.name, recipe)
    missing = {output.step.kind for output in outputs if not output.ref}
    if "model" in missing and left_out:
        return [Line(output.does, "left out", left_out, counts) for output in outputs if output.step.kind == "model"]
    rows = prepared.manifest.facts["rows"] if prepared.manifest else split_rows(plan.dataset, plan.limit)
    lines = []
    for output in outputs:
        kind, seconds = output.step.kind, seconds_of(output.step.kind, recipe, counts, rows)
        if kind == "model" and kind in missing:
            line = _training_line(store, plan, trial, prepared.ref, output, counts, seconds)
        elif output.step.asked_by and kind in missing and left_out:
            line = Line(output.does, "left out", left_out)
        else:
            why = _why_weights(recipe) if kind == "weights" else NOT_THERE
            line = _line(output, why, counts if kind == "model" else None, seconds)
        lines.append(_sized(line, output, plan.dataset, rows, recipe, counts))
    return lines


def _sized(
    line: Line,
    output: Output,
    spec: DatasetSpec,
    rows: Mapping[str, int],
    recipe: Recipe | None = None,
    counts: Counts | None = None,
) -> Line:
    """`line` with what is fetched and stored, where its work is still to do."""
    if line.state == "done":
        return line
    kind = output.step.kind
    return replace(
        line,
        fetched_bytes=fetched_bytes(kind, spec, output.backbone),
        stored_bytes=stored_bytes(kind, spec, rows, recipe, counts),
    )


def _line(output: Output, why: str, counts: Counts | None = None, seconds: float | None = None) -> Line:
    if output.ref:
        return Line(output.does, "done", counts=counts)
    return Line(output.does, "would run", why, counts, seconds)


def _training_line(
    store: Store,
    plan: Plan,
    trial: Trial,
    prepared: Ref | None,
    output: Output,
    counts: Counts | None,
    seconds: float | None,
) -> Line:
    if output.address and (epoch := _resumes_after(store, output.address)) is not None:
        why = f"after epoch {epoch} of {trial.recipe.epochs}"
        return Line(output.does, "would resume", why, counts, seconds)
    return Line(output.does, "would run", _why_train(store, plan, trial, prepared), counts, seconds)


def _why_weights(recipe: Recipe) -> str:
    remote = recipe.backbone and recipe.backbone.weights.startswith("s3://")
    return f"a plan does not read {recipe.backbone.weights}" if recipe.backbone and remote else NOT_THERE


def _why_prepare(store: Store, plan: Plan) -> str:
    last, note = newest(store, f"prepared/{plan.dataset.name}")
    if last is None:
        return note or NOT_THERE
    if last.facts["limit"] != plan.limit:
        return f"limit {said(last.facts['limit'])} → {said(plan.limit)}"
    return "the dataset, or the code that prepares it, has changed"


def _why_train(store: Store, plan: Plan, trial: Trial, prepared: Ref | None) -> str:
    """Which inputs differ from those of the recipe's newest model."""
    last, note = newest(store, f"models/{plan.dataset.name}/{trial.recipe.name}")
    if last is None:
        return note or "never trained"
    return _changes(store, plan, trial, prepared, last)


def _changes(store: Store, plan: Plan, trial: Trial, prepared: Ref | None, last: Manifest) -> str:
    """What is not as it was for the model `last`."""
    recipe, seed = trial
    before = settings_of(last.facts["recipe"])
    # What another version recorded lacks all defaults, as what it is compared with then must.
    now = recipe.resolved() if before is last.facts["recipe"] else recipe.settings()
    changes = differences(before, now)
    if last.facts["seed"] != seed:
        changes.append(f"seed {last.facts['seed']} → {seed}")
    if last.facts["limit"] != plan.limit:
        changes.append(f"limit {said(last.facts['limit'])} → {said(plan.limit)}")
    elif prepared is None or last.inputs["prepared"] != prepared:
        changes.append("the prepared data")
    started = recipe.inputs_of("weights")
    if any(last.inputs.get(started[each.name]) != find_weights(store, each) for each in recipe.backbones):
        changes.append(f"weights {last.facts['weights']} → {recipe.backbones[0].weights}")
    compared = f"compared with {_name(last)}"
    return f"{'; '.join(changes) or 'the code that trains has changed'}; {compared}"


def _name(model: Manifest) -> str:
    """Where a model is and when it was made."""
    return f"{model.files['model'].path.rpartition('/')[0]} of {model.made_by['at'][:10]}"


def _resumes_after(store: Store, model: str) -> int | None:
    names = (PurePosixPath(path).name for path in store.list(checkpoints_address(model)))
    epochs = [name.split(".")[0] for name in names if name.endswith(".npz")]
    return max((int(epoch) for epoch in epochs if epoch.isdecimal()), default=None)
