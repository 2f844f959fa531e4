"""Which outputs a plan comes to, where each lies or will lie, and which are there: told from the store alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lib.data.datasets import DatasetSpec
from lib.errors import PermanentError
from lib.lineage.manifests import Manifest, Ref, find, load
from lib.lineage.steps import STEPS, Step
from lib.models.backbone_schema import Backbone
from lib.models.schema import Recipe
from lib.models.weights import find_weights, why_without_weights
from lib.planning.plan import Plan, Trial
from lib.runtime.hardware import WHY_LEFT_OUT, can_run_here
from lib.store import Store


@dataclass(frozen=True)
class Output:
    """What a step makes for a plan."""

    step: Step
    does: str
    """What the step does, in words."""
    address: str | None
    """None where that cannot be said before what it is made of is there."""
    ref: Ref | None
    manifest: Manifest | None
    backbone: Backbone | None = None
    """The one that it is made for, where it is made for each."""


def dataset_outputs(store: Store, spec: DatasetSpec, limit: int | None) -> list[Output]:
    """The dataset and its prepared form; of a person's own, the images before them."""
    values = {**spec.key_values(), "limit": spec.limit_of(limit)}
    images = _walk(store, "source", {**values, "images": spec.images}) if spec.images else []
    return [*images, *_walk(store, "dataset", values)]


def model_outputs(store: Store, plan: Plan, trial: Trial, prepared: Ref | None) -> list[Output]:
    """All that one training needs and leads to, from its weights to its evaluation and what is made of that."""
    recipe, seed = trial
    shared: dict[str, Any] = {"dataset_name": plan.dataset.name, "title": plan.title(trial)}
    if prepared:
        shared["prepared"] = prepared
    outputs, weights = list[Output](), dict[str, Ref]()
    for backbone in recipe.backbones:
        if found := find_weights(store, backbone):
            weights[backbone.name] = found
        alone = recipe.alone(backbone)
        outputs += _walk(store, "backbone", {**shared, "title": recipe.title, **_known(alone, seed, weights)}, alone)
    return [*outputs, *_walk(store, "model", {**shared, **_known(recipe, seed, weights)}, recipe)]


def _known(recipe: Recipe, seed: int, weights: Mapping[str, Ref]) -> dict[str, Any]:
    """What goes into keys, as far as that is known: weights that are not there yet are not."""
    values = recipe.key_values(seed, weights)
    unknown = any(each.pretrained and each.name not in weights for each in recipe.backbones)
    return {name: value for name, value in values.items() if not (unknown and name in {"weights", "start"})}


def report_output(
    store: Store, plan: Plan, prepared: Ref, evaluations: list[Ref], left_out: list[str], beside: Sequence[Ref] = ()
) -> Output:
    """The report over these evaluations and what stands `beside` them; it lacks the models titled `left_out`."""
    values = {
        "dataset_name": plan.dataset.name,
        "prepared": prepared,
        "evaluations": evaluations,
        "left_out": left_out,
        "beside": [*beside],
        "show_test": plan.request.show_test,
    }
    (output,) = _walk(store, "report", values)
    return output


def _walk(
    store: Store,
    per: Literal["source", "dataset", "backbone", "model", "report"],
    values: dict[str, Any],
    recipe: Recipe | None = None,
) -> list[Output]:
    """The outputs of these steps in their order; each that is there is among the values of the next."""
    outputs = []
    for step in STEPS.values():
        if step.per == per and (step.only_for == "all" or getattr(recipe, step.only_for)):
            known: Any = values.get(step.kind)
            address = known.uri if known else step.address(**values) if step.is_known(values) else None
            ref, manifest = (find(store, address) if address else None) or (None, None)
            if ref:
                values = {**values, step.kind: ref}
            backbone = recipe.backbone if recipe and per == "backbone" else None
            outputs.append(Output(step, step.does.format_map(values), address, ref, manifest, backbone))
    return outputs


def find_prepared(store: Store, spec: DatasetSpec, limit: int | None) -> Ref | None:
    """The prepared data, if they are there."""
    return _ref_of("prepared", dataset_outputs(store, spec, limit))


def check_prepared(store: Store, plan: Plan, prepared: Ref) -> None:
    """Raise PermanentError where `prepared` is not the prepared data that the plan asks for."""
    manifest = load(store, prepared)
    facts = {"dataset": None, "limit": None, "rows": {"train": 0}, **manifest.facts}
    all_rows = facts["limit"] is None and plan.limit is not None and plan.limit >= facts["rows"]["train"]
    asked, received = (
        f"prepared of {plan.dataset.name} with limit {plan.limit}",
        f"{manifest.kind} of {facts['dataset']} with limit {plan.limit if all_rows else facts['limit']}",
    )
    if asked != received:
        raise PermanentError(f"prepared must be a ref of {asked}; {prepared.uri} is {received}: leave it empty")


def find_evaluation(store: Store, plan: Plan, trial: Trial, prepared: Ref) -> Ref | None:
    """The evaluation of the trial's model, if it is there."""
    return _ref_of("evaluation", model_outputs(store, plan, trial, prepared))


def why_left_out(store: Store, recipe: Recipe, allow_cpu: bool, mirror_url: str | None = None) -> str:
    """Why this machine leaves `recipe` out; empty where it trains it."""
    if not can_run_here(recipe.runs_on, allow_cpu):
        return WHY_LEFT_OUT
    return why_without_weights(store, recipe, mirror_url)


def find_report(store: Store, plan: Plan, allow_cpu: bool, mirror_url: str | None = None) -> Ref | None:
    """The report of a plan that is done already, but for what this machine would leave out; or None."""
    if not (prepared := find_prepared(store, plan.dataset, plan.limit)):
        return None
    found = {trial: find_evaluation(store, plan, trial, prepared) for trial in plan.trials}
    evaluations = [evaluation for evaluation in found.values() if evaluation]
    missing = [trial for trial, evaluation in found.items() if not evaluation]
    if not evaluations or not all(why_left_out(store, trial.recipe, allow_cpu, mirror_url) for trial in missing):
        return None
    return report_output(store, plan, prepared, evaluations, [*plan.by_title(dict.fromkeys(missing, ""))]).ref


def _ref_of(kind: str, outputs: list[Output]) -> Ref | None:
    return next((output.ref for output in outputs if output.step.kind == kind), None)
