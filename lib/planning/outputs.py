"""Which outputs a plan comes to, where each lies or will lie, and which are there: told from the store alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lib.data.datasets import DatasetSpec
from lib.errors import PermanentError
from lib.evaluation.comparing import choose_features, too_many
from lib.lineage.manifests import Manifest, Ref, find, load
from lib.lineage.step import Step
from lib.lineage.steps import STEPS
from lib.models.backbone_schema import Backbone
from lib.models.schema import Recipe
from lib.models.weights import find_weights, why_without_weights
from lib.planning.plan import Plan, Trial
from lib.planning.request import RecipeRequest
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
    return [*outputs, *_walk(store, "model", {**shared, **_known(recipe, seed, weights)}, recipe, plan.request)]


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


def data_beside(store: Store, plan: Plan, prepared: Ref) -> list[Output]:
    """What a report shows of the data besides their profile, as far as it is looked for."""
    if not plan.request.duplicates and too_many(load(store, prepared).facts["rows"]):
        return []
    features = choose_features(store, prepared)
    return _walk(store, "prepared", {"dataset_name": plan.dataset.name, "prepared": prepared, "features": features})


def _walk(
    store: Store,
    per: Literal["source", "dataset", "backbone", "model", "prepared", "report"],
    values: dict[str, Any],
    recipe: Recipe | None = None,
    request: RecipeRequest | None = None,
) -> list[Output]:
    """The outputs of these steps in their order; each that is there is among the values of the next."""
    outputs = []
    for step in STEPS.values():
        asked = step.asked_by is None or getattr(request, step.asked_by, False)
        if step.per == per and asked and (step.only_for == "all" or getattr(recipe, step.only_for)):
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


def asked_beside(store: Store, request: RecipeRequest, evaluation: Ref) -> list[Output]:
    """What the request asks for of the model of `evaluation` besides that, whether it is there or not."""
    if not any(step.asked_by and getattr(request, step.asked_by) for step in STEPS.values() if step.per == "model"):
        return []
    manifest = load(store, evaluation)
    recipe = manifest.facts["recipe"]
    names = {"dataset_name": manifest.facts["dataset"], "recipe_name": recipe, "title": recipe}
    made_of = {name: manifest.inputs[name] for name in ("model", "prepared")}
    outputs = _walk(store, "model", {**names, **made_of, "evaluation": evaluation}, None, request)
    return [output for output in outputs if output.step.asked_by]


def is_complete(store: Store, request: RecipeRequest, evaluation: Ref) -> bool:
    """Whether all that the request asks for besides `evaluation` is there."""
    return all(output.ref for output in asked_beside(store, request, evaluation))


def find_beside(store: Store, request: RecipeRequest, evaluations: Sequence[Ref]) -> list[Ref]:
    """What the request asks for besides these evaluations and what is there: a report shows it too."""
    found = [output.ref for each in evaluations for output in asked_beside(store, request, each)]
    return [ref for ref in found if ref]


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
    lacking = [trial for trial, ref in found.items() if ref is None or not is_complete(store, plan.request, ref)]
    if not evaluations or not all(why_left_out(store, trial.recipe, allow_cpu, mirror_url) for trial in lacking):
        return None
    beside = [output.ref for output in data_beside(store, plan, prepared)]
    if not all(beside):
        return None
    shown = [*find_beside(store, plan.request, evaluations), *(each for each in beside if each)]
    return report_output(store, plan, prepared, evaluations, [*plan.by_title(dict.fromkeys(missing, ""))], shown).ref


def _ref_of(kind: str, outputs: list[Output]) -> Ref | None:
    return next((output.ref for output in outputs if output.step.kind == kind), None)
