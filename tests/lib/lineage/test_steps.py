"""Golden addresses. Where one changes, results made before are no longer found, and all is made anew.

If that is meant, raise the step's version in `lib.lineage.steps` and pin the new address here.
"""

from typing import Any

import pytest

from lib.data.datasets import DatasetSpec, SplitDigests
from lib.data.upstream import UpstreamFile
from lib.lineage import steps as addresses
from lib.lineage.manifests import Ref
from lib.lineage.steps import (
    checkpoints_address,
    dataset_address,
    evaluation_address,
    features_address,
    model_address,
    prepared_address,
    report_address,
    weights_address,
)
from lib.models.schema import Augmentation, Backbone, Phase, Recipe

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


def spec(**fields: Any) -> DatasetSpec:
    return SPEC.model_copy(update=fields)


def recipe(**fields: Any) -> Recipe:
    return RECIPE.model_copy(update=fields)


def test_the_dataset_address_changes_only_with_ingest_version() -> None:
    assert addresses.INGEST_VERSION == 2
    assert dataset_address(SPEC) == "datasets/toy/b795243c76b6e046"


def test_the_prepared_address_changes_only_with_prepare_version() -> None:
    assert addresses.PREPARE_VERSION == 1
    assert prepared_address(SPEC, A, None) == "prepared/toy/7513c6ca7f3eeafd"
    assert prepared_address(SPEC, A, 500) == "prepared/toy/189b65cd7f990b5a"


def test_the_weights_address_changes_only_with_weights_version() -> None:
    assert addresses.WEIGHTS_VERSION == 2
    assert weights_address("mobilenet", {"sha256": "c" * 64}) == "weights/mobilenet/6a646f3a5c328e67"


def test_the_features_address_changes_only_with_features_version() -> None:
    assert addresses.FEATURES_VERSION == 1
    assert features_address("toy", FROZEN, A, 0, B) == "features/toy/418b10f19e803dc5"


def test_the_model_address_changes_only_with_train_version() -> None:
    assert addresses.TRAIN_VERSION == 3
    assert model_address("toy", RECIPE, A, 0) == "models/toy/toy-net/f5fa122b4b77f930"


def test_the_evaluation_address_changes_only_with_evaluate_version() -> None:
    assert addresses.EVALUATE_VERSION == 2
    assert evaluation_address("toy", "toy-net", A) == "evaluations/toy/toy-net/6e15791747b19cc6"


def test_the_report_address_changes_only_with_report_version() -> None:
    assert addresses.REPORT_VERSION == 1
    assert report_address("toy", A, [A, B]) == "reports/toy/880e7a87f7896d08"


def test_checkpoints_lie_at_their_models_key() -> None:
    assert checkpoints_address("models/models/net/0123") == "checkpoints/models/net/0123"


@pytest.mark.parametrize(
    "step",
    [
        "INGEST_VERSION",
        "PREPARE_VERSION",
        "WEIGHTS_VERSION",
        "FEATURES_VERSION",
        "TRAIN_VERSION",
        "EVALUATE_VERSION",
        "REPORT_VERSION",
    ],
)
def test_raising_one_steps_version_moves_that_step_alone(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def all_addresses() -> dict[str, str]:
        return {
            "INGEST_VERSION": dataset_address(SPEC),
            "PREPARE_VERSION": prepared_address(SPEC, A, None),
            "WEIGHTS_VERSION": weights_address("mobilenet", {"sha256": "c" * 64}),
            "FEATURES_VERSION": features_address("toy", FROZEN, A, 0, B),
            "TRAIN_VERSION": model_address("toy", RECIPE, A, 0),
            "EVALUATE_VERSION": evaluation_address("toy", "toy-net", A),
            "REPORT_VERSION": report_address("toy", A, [A]),
        }

    before = all_addresses()
    monkeypatch.setattr(addresses, step, 99)
    after = all_addresses()
    assert [name for name in before if before[name] != after[name]] == [step]


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
        prepared_address(SPEC, A, 10),
        prepared_address(SPEC, B, None),
        prepared_address(spec(validation_rows=1), A, None),
        prepared_address(spec(split_seed=1), A, None),
        prepared_address(spec(max_imbalance=2.0), A, None),
    }
    assert len(found) == 6


def test_a_model_moves_with_every_setting_that_changes_it_and_no_other() -> None:
    here = model_address("toy", RECIPE, A, 0)
    assert model_address("toy", recipe(description="x", datasets=("y",), baseline=True, runs_on="gpu"), A, 0) == here
    other_start = FROZEN.starting_from("none")
    assert model_address("toy", other_start, A, 0, B) == model_address("toy", FROZEN, A, 0, B), (
        "only the content counts"
    )
    found = {
        here,
        model_address("toy", FROZEN, A, 0),
        model_address("toy", FROZEN, A, 0, A),
        model_address("toy", FROZEN, A, 0, B),
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


def test_a_report_does_not_depend_on_the_order_of_its_evaluations() -> None:
    assert report_address("toy", A, [A, B]) == report_address("toy", A, [B, A])
    assert report_address("toy", A, [A]) != report_address("toy", A, [A, B])
