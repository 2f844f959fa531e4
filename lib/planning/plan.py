"""What a request comes to, checked before anything starts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from lib.data.datasets import DatasetSpec
from lib.data.own import find_dataset
from lib.errors import LeftOut, PermanentError
from lib.lineage.manifests import Ref
from lib.models.backbone_schema import IMAGENET, RANDOM
from lib.models.overrides import override, settings_for
from lib.models.recipes import RECIPES, choose_recipes, recipes_for_own
from lib.models.schema import ALL_ALIKE, IMAGE_NETWORKS, Recipe
from lib.planning.dates import Start, fresh_seed, further_seeds, start_now
from lib.planning.request import (
    DataRequest,
    ModelRequest,
    PredictionRequest,
    PromotionRequest,
    RecipeRequest,
    Seed,
    TrainingRequest,
    read_request,
)
from lib.store import Store

LARGEST_SEED = 2**32 - 1


class Trial(NamedTuple):
    """One training of a plan: a resolved recipe and a seed."""

    recipe: Recipe
    seed: int


class Plan(BaseModel):
    """A dataset, how much of it, and the resolved recipes to train on it."""

    model_config = ConfigDict(frozen=True)

    request: TrainingRequest
    dataset: DatasetSpec
    recipes: tuple[Recipe, ...]
    seeds: tuple[int, ...]
    notes: tuple[str, ...] = ()
    """What a person should know of it before it runs."""

    @property
    def limit(self) -> int | None:
        """Training rows, or None for all."""
        return self.dataset.limit_of(self.request.limit)

    @property
    def trials(self) -> list[Trial]:
        """All trainings, in the order in which they run."""
        return [Trial(recipe, seed) for recipe in self.recipes for seed in self.seeds]

    def title(self, trial: Trial) -> str:
        """The recipe's, with the seed where the plan has several."""
        return f"{trial.recipe.title}, seed {trial.seed}" if len(self.seeds) > 1 else trial.recipe.title

    def by_title(self, reasons: Mapping[Trial, str]) -> dict[str, str]:
        """The same by title: that of the recipe alone where all its seeds are named."""
        titles = dict[str, str]()
        for trial, why in reasons.items():
            all_seeds = all(Trial(trial.recipe, seed) in reasons for seed in self.seeds)
            titles.setdefault(trial.recipe.title if all_seeds else self.title(trial), why)
        return titles

    def request_for(self, trial: Trial, prepared: Ref) -> ModelRequest:
        """What train-model is asked to do of this plan."""
        shared = self.request.model_dump(include=set(RecipeRequest.model_fields))
        weights = trial.recipe.backbone.weights if trial.recipe.backbone else None
        overrides = self.request.overrides and settings_for(trial.recipe, self.request.overrides)
        asked = {**shared, "seed": trial.seed, "model": trial.recipe.name, "overrides": overrides}
        return ModelRequest(**asked, weights=weights, prepared=prepared)


@dataclass(frozen=True)
class Outcome:
    """What became of a training: its evaluation, or why there is none."""

    trial: Trial
    evaluation: Ref | None = None
    error: BaseException | None = None

    @property
    def failed(self) -> bool:
        """Whether it went wrong; a recipe left out for want of a GPU, or of an optional package, did not."""
        return self.error is not None and not isinstance(self.error, LeftOut)


def make_plan(request: TrainingRequest, start: Callable[[], Start] = start_now, store: Store | None = None) -> Plan:
    """Resolve names and overrides of a request. `start` says when its run was to start; only a fresh seed asks.

    `store` is asked for datasets that are not built in. Raises PermanentError for anything that cannot be.
    """
    spec = find_dataset(request.dataset, store)
    check_limit(spec, request.limit)
    if request.promote and spec.limit_of(request.limit) is not None:
        raise PermanentError(
            f"promote (--promote) is for models of all images; received limit (--limit) {request.limit}: leave one out"
        )
    chosen = choose_recipes(spec.name, request.models, request.baselines)
    why = ""
    if not chosen and spec.images:
        chosen, why = recipes_for_own(spec.image_shape)
    if not chosen:
        raise PermanentError(f"no recipe names dataset {request.dataset!r}; choose some: --models NAME [NAME …]")
    resolved, notes = _overridden(chosen, request)
    for recipe in resolved:
        _check_side(recipe, spec)
        _check_augmentation(recipe, spec)
    recipes = _starting_from(request.starts, resolved)
    return Plan(
        request=request,
        dataset=spec,
        recipes=recipes,
        seeds=resolve_seeds(request.seed, request.seeds, start),
        notes=(*filter(None, [why]), *notes),
    )


def _overridden(chosen: list[Recipe], request: TrainingRequest) -> tuple[list[Recipe], tuple[str, ...]]:
    """The recipes with those settings that each has, and a note on each setting that not all have.

    A setting that none of them has is an error of the first.
    """
    asked = request.overrides or {}
    known = {recipe.name: settings_for(recipe, asked) for recipe in chosen}
    notes = []
    for key in asked:
        without = [name for name, settings in known.items() if key not in settings]
        if without and len(without) < len(chosen):
            having = [name for name in known if name not in without]
            notes.append(f"--set {key} applies to {', '.join(having)}; not to {', '.join(without)}")
        elif without:
            known[chosen[0].name][key] = asked[key]
    return [override(recipe, request.epochs, known[recipe.name]) for recipe in chosen], tuple(notes)


def _check_side(recipe: Recipe, spec: DatasetSpec) -> None:
    """Raise PermanentError where images of `spec` are too small for the network. A backbone enlarges them."""
    side, least = min(spec.image_shape[:2]), IMAGE_NETWORKS.get(recipe.network, 1)
    if side < least:
        others = "choose other models by --models"
        raise PermanentError(
            f"{recipe.name} needs images of at least {least} px; received {spec.name} with {side} px; "
            + (f"ingest it with --from, --name and --px {least} or more, or {others}" if spec.images else others)
        )


def _check_augmentation(recipe: Recipe, spec: DatasetSpec) -> None:
    """Raise PermanentError where augmentation could leave nothing of an image of `spec`."""
    side = min(spec.image_shape[:2])
    for name in ("shift_px", "cutout_px"):
        if (pixels := getattr(recipe.augmentation, name)) >= side:
            raise PermanentError(
                f"recipe {recipe.name}: augmentation.{name} must be less than {side}, the side of an image of "
                f"{spec.name}; received {pixels}"
            )


def _starting_from(starts: list[str], recipes: list[Recipe]) -> tuple[Recipe, ...]:
    if not starts:
        return tuple(recipes)
    backbones = {each.name for recipe in recipes for each in recipe.backbones}
    if not backbones:
        raise PermanentError(
            f"--weights is for recipes with a backbone; received {', '.join(recipe.name for recipe in recipes)}"
        )
    given = [each for each in starts if each not in {IMAGENET, RANDOM}]
    if given and (several := [recipe for recipe in recipes if recipe.beside]):
        names = ", ".join(each.name for each in several[0].backbones)
        raise PermanentError(f"--weights {given[0]} fits one backbone, and {several[0].name} has {names}: {ALL_ALIKE}")
    if given and len(backbones) > 1:
        raise PermanentError(
            f"--weights {given[0]} fits one backbone; received recipes with {', '.join(sorted(backbones))}: "
            "choose with --models"
        )
    variants = [recipe.starting_from(start) for recipe in recipes for start in starts]
    return tuple(dict.fromkeys(variants))


def check_parameters(kind: type[BaseModel], values: Mapping[str, Any], store: Store | None = None) -> None:
    """Raise PermanentError where a run that reads `kind` from `values` refuses them.

    `store` is asked for datasets that are not built in, and for nothing else.
    """
    request = read_request(kind, values, strict=True)
    if isinstance(request, ModelRequest):
        request = request.alone()
    if isinstance(request, TrainingRequest):
        make_plan(request, store=store)
    elif isinstance(request, DataRequest):
        check_limit(find_dataset(request.dataset, store), request.limit)
    elif isinstance(request, PredictionRequest | PromotionRequest):
        find_dataset(request.dataset, store)


def check_parameters_without_model(values: Mapping[str, Any], store: Store | None = None) -> None:
    """Raise PermanentError where train-model refuses `values` whichever model its run is given."""
    for name in RECIPES:
        try:
            check_parameters(ModelRequest, {**values, "model": name}, store)
            return
        except PermanentError as error:
            refused = error
    raise refused


def check_limit(spec: DatasetSpec, limit: int | None) -> None:
    """Raise PermanentError where `limit` training rows cannot have each class of `spec`."""
    classes = len(spec.class_names)
    if limit is not None and limit < classes:
        raise PermanentError(
            f"limit (--limit N) must be at least {classes}, one row of each class of {spec.name}; received {limit}"
        )


def resolve_seeds(seed: Seed, count: int, start: Callable[[], Start]) -> tuple[int, ...]:
    """`count` seeds from `seed` on, or for `fresh` from that of the run's start on: the same over its retries."""
    if seed == "fresh":
        return further_seeds(fresh_seed(start()), count, of_a_date=True)
    seeds = further_seeds(seed, count, of_a_date=False)
    if not 0 <= seed <= seeds[-1] <= LARGEST_SEED:
        received = seed if count == 1 else f"{seed} with {count} seeds"
        raise PermanentError(f"seed (--seed N) must be 'fresh' or from 0 to {LARGEST_SEED}; received {received}")
    return seeds
