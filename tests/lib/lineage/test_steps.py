"""Golden addresses. Where one changes, results made before are no longer found, and all is made anew.

If that is meant, raise the step's version in `lib.lineage.steps` and pin the new address here.
"""

import pkgutil
from dataclasses import replace
from typing import Any

import pytest

from lib.data.datasets import DatasetSpec, SplitDigests, dataset_address, prepared_address
from lib.data.upstream import UpstreamFile
from lib.lineage.manifests import Ref
from lib.lineage.steps import STEPS, checkpoints_address
from lib.models.schema import Augmentation, Backbone, Phase, Recipe, features_address, model_address, settings_of

SPEC = DatasetSpec(
    name="toy",
    title="Toy",
    format="idx",
    files=(UpstreamFile(role="train-images", url="https://host/a.gz", max_bytes=1000),),
    image_shape=(2, 2, 1),
    rows={"train": 4, "test": 2},
    class_names=("no", "yes"),
    digests={
        "train": SplitDigests(images="1" * 64, labels="2" * 64),
        "test": SplitDigests(images="3" * 64, labels="4" * 64),
    },
    validation_rows=2,
    source="made up",
    licence="none",
    citation="nobody",
)
RECIPE = Recipe(
    name="toy-net",
    datasets=("toy",),
    description="A toy.",
    network="softmax",
    phases=(Phase(epochs=2, learning_rate=0.001),),
    augmentation=Augmentation(flip=True),
)
FROZEN = RECIPE.model_copy(update={"backbone": Backbone(name="mobilenet", image_px=64, frozen=True)})
A, B = Ref(uri="a/1", sha256="a" * 64), Ref(uri="b/1", sha256="b" * 64)
FROM_B = {"mobilenet": B}


def spec(**fields: Any) -> DatasetSpec:
    return SPEC.model_copy(update=fields)


def recipe(**fields: Any) -> Recipe:
    return RECIPE.model_copy(update=fields)


VALUES = {
    **SPEC.key_values(),
    **FROZEN.key_values(seed=0, weights={"mobilenet": B}),
    **{
        "limit": None,
        "file": {"sha256": "c" * 64},
        "evaluations": [A, B],
        "left_out": [],
        "beside": [],
        "show_test": False,
        "features": None,
        "collected": "d" * 64,
        "challenger": A,
        "champion": B,
        "attempt": 1,
        "chosen_from": 1,
        "gate": {"min_gain": 0.002, "max_slowdown": 2.0},
        "listing": "e" * 64,
        "top": 5,
    },
    **dict.fromkeys(("dataset", "prepared", "model", "evaluation"), A),
}
GOLDEN = {
    "images": (1, "images/toy/c0a12527bc0fa83e"),
    "dataset": (3, "datasets/toy/d66635de91cfaf35"),
    "prepared": (3, "prepared/toy/0e6de852d9d597e2"),
    "weights": (4, "weights/mobilenet/537416b70be19f66"),
    "features": (2, "features/toy/8bb2e3743e53c82b"),
    "model": (5, "models/toy/toy-net/a0d8d4567862b2d2"),
    "evaluation": (5, "evaluations/toy/toy-net/d140d998be668b83"),
    "robustness": (1, "robustness/toy/toy-net/b9866e573c17f44d"),
    "duplicates": (1, "duplicates/toy/3da5bf7f1689c40b"),
    "reevaluation": (1, "reevaluations/toy/toy-net/e3893b249224ec85"),
    "decision": (1, "decisions/toy/48aa8dbdc3e64dfb"),
    "report": (5, "reports/toy/44bf82d3e527b35e"),
    "prediction": (1, "predictions/toy/5606666d49bf0651"),
}


@pytest.mark.parametrize("kind", STEPS)
def test_an_address_changes_only_with_its_steps_version(kind: str) -> None:
    assert (STEPS[kind].version, STEPS[kind].address(**VALUES)) == GOLDEN[kind]


@pytest.mark.parametrize("kind", STEPS)
def test_raising_a_version_moves_the_step(kind: str) -> None:
    assert replace(STEPS[kind], version=99).address(**VALUES) != STEPS[kind].address(**VALUES)


@pytest.mark.parametrize("kind", STEPS)
def test_an_address_is_known_from_what_folder_and_key_name_and_from_nothing_less(kind: str) -> None:
    step = STEPS[kind]
    needed = {*step.key, *(part.strip("{}") for part in step.folder.split("/")[1:])}
    assert step.is_known(dict.fromkeys(needed))
    assert not any(step.is_known(dict.fromkeys(needed - {each})) for each in needed)


@pytest.mark.parametrize("kind", STEPS)
def test_a_step_is_made_of_earlier_steps_alone_and_its_functions_are_there(kind: str) -> None:
    kinds = list(STEPS)
    assert all(kinds.index(each) < kinds.index(kind) for each in STEPS[kind].key if each in kinds)
    functions = [STEPS[kind].verified_by, *([job] if (job := STEPS[kind].job) else [])]
    assert all(callable(pkgutil.resolve_name(each)) for each in functions)


def test_checkpoints_lie_at_the_address_of_what_they_are_for() -> None:
    assert checkpoints_address("models/models/net/0123") == "checkpoints/models/models/net/0123"


@pytest.mark.parametrize(
    "other",
    [
        spec(title="Other"),
        spec(validation_rows=1, split_seed=7, max_imbalance=2.0),
        spec(files=(UpstreamFile(role="train-images", url="https://elsewhere/a.gz", max_bytes=9, md5="0"),)),
    ],
    ids=["title", "split rules", "where files come from"],
)
def test_a_dataset_stays_where_its_pixels_stay(other: DatasetSpec) -> None:
    assert dataset_address(other) == dataset_address(SPEC)


@pytest.mark.parametrize(
    "other",
    [
        spec(image_shape=(1, 4, 1)),
        spec(rows={"train": 5, "test": 2}),
        spec(class_names=("yes", "no")),
        spec(superclass_names=("all",)),
        spec(format="other"),
        spec(digests={**SPEC.digests, "test": SplitDigests(images="5" * 64, labels="4" * 64)}),
    ],
    ids=["shape", "rows", "classes", "superclasses", "format", "digests"],
)
def test_a_dataset_moves_with_what_decides_its_content(other: DatasetSpec) -> None:
    assert dataset_address(other) != dataset_address(SPEC)


def test_a_split_moves_with_its_rules_its_data_and_its_limit() -> None:
    found = {
        prepared_address(SPEC, A, None),
        prepared_address(SPEC, A, 1),
        prepared_address(SPEC, B, None),
        prepared_address(spec(validation_rows=1), A, None),
        prepared_address(spec(split_seed=1), A, None),
        prepared_address(spec(max_imbalance=2.0), A, None),
    }
    assert len(found) == 6
    assert prepared_address(SPEC, A, 2) == prepared_address(SPEC, A, None), "2 of 4 rows are for validation"


def test_a_model_moves_with_every_setting_that_changes_it_and_no_other() -> None:
    here = model_address("toy", RECIPE, A, 0)
    assert model_address("toy", recipe(description="x", datasets=("y",), baseline=True, runs_on="gpu"), A, 0) == here
    other_start = FROZEN.starting_from("none")
    assert model_address("toy", other_start, A, 0, FROM_B) == model_address("toy", FROZEN, A, 0, FROM_B), (
        "only the content counts"
    )
    found = {
        here,
        model_address("toy", FROZEN, A, 0),
        model_address("toy", FROZEN, A, 0, {"mobilenet": A}),
        model_address("toy", FROZEN, A, 0, FROM_B),
        model_address("toy", recipe(precision="mixed_float16"), A, 0),
        model_address("toy", RECIPE, A, 1),
        model_address("toy", RECIPE, B, 0),
        model_address("toy", recipe(dropout=0.5), A, 0),
        model_address("toy", recipe(batch_size=64), A, 0),
        model_address("toy", recipe(deterministic=False), A, 0),
        model_address("toy", recipe(phases=(Phase(epochs=3, learning_rate=0.001),)), A, 0),
        model_address("toy", recipe(phases=(Phase(epochs=2, learning_rate=0.002),)), A, 0),
        model_address("toy", recipe(augmentation=Augmentation()), A, 0),
    }
    assert len(found) == 13


def test_features_move_with_what_they_are_computed_from_and_no_other_setting() -> None:
    def address(changed: Recipe = FROZEN, prepared: Ref = A, seed: int = 0, weights: Ref | None = B) -> str:
        return features_address("toy", changed, prepared, seed, weights)

    other_head = FROZEN.model_copy(update={"dropout": 0.1, "batch_size": 7, "name": "other"})
    assert address(other_head) == address()
    assert address(seed=1) == address(), "only a random start depends on the seed"
    smaller = FROZEN.model_copy(update={"backbone": Backbone(name="mobilenet", image_px=32, frozen=True)})
    one_view = FROZEN.model_copy(update={"augmentation": Augmentation()})
    moved = [address(smaller), address(one_view), address(prepared=B), address(weights=A), address(weights=None)]
    assert len({address(), *moved, address(seed=1, weights=None)}) == 7


def test_a_model_of_several_backbones_moves_with_each_and_with_the_weights_of_each() -> None:
    lite = Backbone(name="efficientnet-lite0", image_px=64, frozen=True)
    several = FROZEN.model_copy(update={"beside": (lite,)})
    starts = {"mobilenet": A, "efficientnet-lite0": B}
    turned = several.model_copy(update={"backbone": lite, "beside": (FROZEN.backbone,)})
    found = {
        model_address("toy", FROZEN, A, 0, starts),
        model_address("toy", several, A, 0, starts),
        model_address("toy", turned, A, 0, starts),
        model_address("toy", several, A, 0, {"mobilenet": A, "efficientnet-lite0": A}),
        model_address("toy", several, A, 0),
        model_address("toy", several.model_copy(update={"beside": (lite.model_copy(update={"image_px": 96}),)}), A, 0),
    }
    assert len(found) == 6
    assert model_address("toy", FROZEN, A, 0, starts) == model_address("toy", FROZEN, A, 0, {"mobilenet": A})
    assert features_address("toy", several.alone(several.backbones[0]), A, 0, B) == features_address(
        "toy", FROZEN, A, 0, B
    )


def test_a_report_does_not_depend_on_the_order_of_its_evaluations() -> None:
    def address(*evaluations: Ref) -> str:
        made_of = {"prepared": A, "evaluations": list(evaluations), "left_out": [], "beside": [], "show_test": False}
        return STEPS["report"].address(dataset_name="toy", **made_of)

    assert address(A, B) == address(B, A)
    assert address(A) != address(A, B)


class LaterRecipe(Recipe):
    """A recipe of a later version of this code, with an optional field more."""

    colour_jitter: float = 0.0


class LaterPhase(Phase):
    """The same of a phase."""

    ema: float | None = None


def test_a_new_optional_field_of_a_recipe_moves_no_key() -> None:
    later = LaterRecipe(**{**dict(RECIPE), "phases": (LaterPhase(epochs=2, learning_rate=0.001),)})
    assert model_address("toy", later, A, 0) == model_address("toy", RECIPE, A, 0)
    used = later.model_copy(update={"colour_jitter": 0.1})
    assert model_address("toy", used, A, 0) != model_address("toy", RECIPE, A, 0)


def test_a_resolved_recipe_has_what_differs_from_the_defaults_and_reads_back_whole() -> None:
    assert RECIPE.resolved() == {
        "name": "toy-net",
        "network": "softmax",
        "phases": [{"epochs": 2, "learning_rate": 0.001}],
        "augmentation": {"flip": True},
    }
    settings = settings_of(RECIPE.resolved())
    assert settings == RECIPE.settings()
    assert (settings["batch_size"], settings["phases"][0]["optimizer"]) == (128, "adamw")
    assert settings_of({**RECIPE.resolved(), "unheard_of": 1}) == {**RECIPE.resolved(), "unheard_of": 1}
