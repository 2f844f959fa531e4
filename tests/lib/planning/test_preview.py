"""A preview says the truth of an empty, a half-done and a finished store."""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from lib.data.datasets import DATASETS, dataset_address, prepared_address
from lib.data.upstream import UpstreamFile
from lib.lineage.manifests import Ref, commit, load
from lib.lineage.steps import checkpoints_address
from lib.models import recipes, weights
from lib.models.schema import Backbone, Phase, Recipe, features_address, model_address
from lib.models.weights import weights_address
from lib.planning.plan import make_plan
from lib.planning.preview import Line, preview
from lib.planning.request import TrainingRequest
from lib.store import LocalStore
from tests.whole import whole_manifest

from .made import duplicates_address, evaluation_address, report_address

LINEAR = Recipe(
    name="linear", datasets=("digits",), description="", network="softmax", phases=(Phase(epochs=4, learning_rate=0.1),)
)
ON_GPU = LINEAR.model_copy(update={"name": "on-gpu", "runs_on": "gpu"})
FROZEN = LINEAR.model_copy(
    update={"name": "frozen", "backbone": Backbone(name="mobilenet", image_px=32, frozen=True), "network": "dense-1024"}
)
FILE = UpstreamFile(role="weights", url="https://host/toy.h5", max_bytes=10)
DIGITS = DATASETS["digits"]


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "RECIPES", {recipe.name: recipe for recipe in (LINEAR, ON_GPU, FROZEN)})
    monkeypatch.setitem(weights.IMAGENET_FILES, "mobilenet", (FILE,))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def put(store: LocalStore, kind: Any, address: str, at: str = "2026-01-01", **more: Any) -> Ref:
    """A finished output at `address`."""
    ref = commit(store, address, whole_manifest(kind, address, **({"made_by": {"at": at}} | more)))
    dated(store, address, at)
    return ref


def dated(store: LocalStore, address: str, at: str) -> None:
    """As if the store had been given it on that day."""
    os.utime(store.root / address / "manifest.json", (datetime.fromisoformat(at).timestamp(),) * 2)


def put_prepared(store: LocalStore, limit: int | None = None) -> Ref:
    dataset = put(store, "dataset", dataset_address(DIGITS))
    facts = {"limit": limit, "rows": {"train": 100, "validation": 10, "test": 20}}
    return put(store, "prepared", prepared_address(DIGITS, dataset, limit), facts=facts)


def put_model(store: LocalStore, prepared: Ref, recipe: Recipe, at: str = "2026-01-01", seed: int = 0) -> Ref:
    facts = {"recipe": recipe.resolved(), "seed": seed, "limit": None, "weights": None}
    address = model_address("digits", recipe, prepared, seed)
    return put(store, "model", address, at, facts=facts, inputs={"prepared": prepared})


def told(store: LocalStore, allow_cpu: bool = False, **asked: Any) -> list[tuple[str, str, str]]:
    return [(step.name, step.state, step.why) for step in steps(store, allow_cpu, **asked)]


def steps(store: LocalStore, allow_cpu: bool = False, **asked: Any) -> list[Line]:
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    found = preview(store, make_plan(TrainingRequest(**asked)), allow_cpu)
    assert before == {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}, "it only looks"
    return found


def test_of_an_empty_store_all_would_run_and_what_needs_a_gpu_is_left_out(store: LocalStore) -> None:
    why = "runs on a GPU and this machine has none; --allow-cpu (ALLOW_CPU=1) trains it here, slowly"
    assert told(store) == [
        ("ingest digits", "would run", "not in the store yet"),
        ("prepare digits", "would run", "not in the store yet"),
        ("train linear", "would run", "never trained"),
        ("evaluate linear", "would run", "not in the store yet"),
        ("train on-gpu", "left out", why),
        ("ingest weights of mobilenet", "would run", "not in the store yet"),
        ("compute features of mobilenet for frozen", "would run", "not in the store yet"),
        ("train frozen", "would run", "never trained"),
        ("evaluate frozen", "would run", "not in the store yet"),
        ("look for near duplicates in digits", "would run", "not in the store yet"),
        ("report on digits", "would run", "its models are not all done"),
    ]
    assert ("train on-gpu", "would run", "never trained") in told(store, allow_cpu=True)


def test_of_a_half_done_store_each_step_is_told_by_what_is_there(store: LocalStore) -> None:
    prepared = put_prepared(store)
    start = put(store, "weights", weights_address("mobilenet", {"name": "toy.h5", "md5": None, "sha256": None}))
    put(store, "features", features_address("digits", FROZEN, prepared, 0, start))
    store.write(f"{checkpoints_address(model_address('digits', LINEAR, prepared, 0))}/00003.00000-abc.npz", b"")
    assert told(store) == [
        ("ingest digits", "done", ""),
        ("prepare digits", "done", ""),
        ("train linear", "would resume", "after epoch 3 of 4"),
        ("evaluate linear", "would run", "not in the store yet"),
        ("train on-gpu", "left out", told(store)[4][2]),
        ("ingest weights of mobilenet", "done", ""),
        ("compute features of mobilenet for frozen", "done", ""),
        ("train frozen", "would run", "never trained"),
        ("evaluate frozen", "would run", "not in the store yet"),
        ("look for near duplicates in digits", "would run", "not in the store yet"),
        ("report on digits", "would run", "its models are not all done"),
    ]


def test_of_a_finished_store_all_is_done(store: LocalStore) -> None:
    prepared = put_prepared(store)
    model = put_model(store, prepared, LINEAR)
    assert told(store, models=["linear"])[2:4] == [
        ("train linear", "done", ""),
        ("evaluate linear", "would run", "not in the store yet"),
    ]
    evaluation = put(store, "evaluation", evaluation_address("linear", model))
    assert [state for _, state, _ in told(store, models=["linear"])] == ["done"] * 4 + ["would run"] * 2
    found = put(store, "duplicates", duplicates_address(prepared))
    assert [state for _, state, _ in told(store, models=["linear"])] == ["done"] * 5 + ["would run"]
    put(store, "report", report_address(prepared, [evaluation], (), found))
    assert [state for _, state, _ in told(store, models=["linear"])] == ["done"] * 6
    both = {"models": ["linear", "on-gpu"]}
    assert [state for _, state, _ in told(store, **both)][-2:] == ["done", "would run"], "a report names these"
    put(store, "report", report_address(prepared, [evaluation], ("on-gpu",), found))
    assert [state for _, state, _ in told(store, **both)][-3:] == ["left out", "done", "done"]


def test_near_duplicates_are_looked_for_again_once_there_are_features_and_not_among_too_many(
    store: LocalStore,
) -> None:
    prepared = put_prepared(store)
    put(store, "duplicates", duplicates_address(prepared))
    why = "found by pixels, and now by features"
    assert ("look for near duplicates in digits", "would run", why) in told(store, models=["frozen"])
    assert ("look for near duplicates in digits", "done", "") in told(store, models=["linear"])
    start = put(store, "weights", weights_address("mobilenet", {"name": "toy.h5", "md5": None, "sha256": None}))
    made_of = {"prepared": prepared, "weights": start}
    facts = {"backbone": {"name": "mobilenet"}}
    at = features_address("digits", FROZEN, prepared, 0, start)
    features = put(store, "features", at, inputs=made_of, facts=facts)
    assert ("look for near duplicates in digits", "would run", "not in the store yet") in told(store, models=["linear"])
    put(store, "duplicates", duplicates_address(prepared, features), facts={"features": "mobilenet"})
    for model in ("linear", "frozen"):
        assert ("look for near duplicates in digits", "done", "") in told(store, models=[model])


def test_among_a_million_images_near_duplicates_are_looked_for_where_a_person_asks(store: LocalStore) -> None:
    dataset = put(store, "dataset", dataset_address(DIGITS))
    rows = {"train": 900_000, "validation": 50_000, "test": 50_000}
    put(store, "prepared", prepared_address(DIGITS, dataset, None), facts={"limit": None, "rows": rows})
    (line,) = (line for line in told(store, models=["linear"]) if line[0].startswith("look"))
    assert line[1:] == (
        "left out",
        "not looked for: 1,000,000 images take 100,000,000,000 comparisons, more than 20,000,000,000; ask for it with "
        "--duplicates",
    )
    (line,) = (line for line in told(store, models=["linear"], duplicates=True) if line[0].startswith("look"))
    assert line[1:] == ("would run", "not in the store yet")


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"epochs": 3}, "phases.0.epochs 4 → 3"),
        ({"seed": 5}, "seed 0 → 5"),
        (
            {"overrides": {"label_smoothing": "0.5", "augmentation.flip": "true"}},
            "augmentation.flip False → True; label_smoothing 0.0 → 0.5",
        ),
        ({"limit": 50}, "limit none → 50"),
    ],
)
def test_what_changed_since_the_newest_model_is_named(store: LocalStore, asked: dict[str, Any], why: str) -> None:
    prepared = put_prepared(store)
    put_model(store, prepared, LINEAR.model_copy(update={"batch_size": 1}), at="2026-01-01")
    newest = put_model(store, prepared, LINEAR, at="2026-01-02")
    compared = f"{why}; compared with {newest.uri} of 2026-01-02"
    assert ("train linear", "would run", compared) in told(store, models=["linear"], **asked)


def test_a_recipe_of_another_version_is_compared_without_defaults(store: LocalStore) -> None:
    prepared = put_prepared(store)
    ref = put_model(store, prepared, LINEAR, at="2026-01-02")
    model = load(store, ref)
    old = model.facts["recipe"] | {"network": "no-more"}
    store.write(f"{ref.uri}/manifest.json", model.model_copy(update={"facts": model.facts | {"recipe": old}}).to_json())
    why = f"network no-more → {LINEAR.network}; seed 0 → 5; compared with {ref.uri} of 2026-01-02"
    assert ("train linear", "would run", why) in told(store, models=["linear"], seed=5)


class CountingStore(LocalStore):
    reads = 0

    def read(self, path: str) -> bytes:
        self.reads += 1
        return super().read(path)


def test_of_1_000_old_models_only_the_newest_is_read(store: LocalStore) -> None:
    prepared = put_prepared(store)
    model = load(store, newest := put_model(store, prepared, LINEAR))
    for number in range(1_000):
        address = f"models/digits/linear/old-{number}"
        (store.root / address).mkdir(parents=True)
        (store.root / address / "manifest.json").write_bytes(model.to_json())
        dated(store, address, "2025-01-01")
    counting = CountingStore(store.root)
    lines = preview(counting, make_plan(TrainingRequest(models=["linear"], seed=5)), allow_cpu=False)
    why = f"seed 0 → 5; compared with {newest.uri} of 2026-01-01"
    assert ("train linear", why) in [(line.name, line.why) for line in lines]
    assert counting.reads < 15


def test_a_model_that_does_not_say_what_one_must_is_compared_with_nothing(store: LocalStore) -> None:
    prepared = put_prepared(store)
    address = put_model(store, prepared, LINEAR)
    model = load(store, address)
    store.write(f"{address.uri}/manifest.json", model.model_copy(update={"facts": {"recipe": "x"}}).to_json())
    store.write(f"checkpoints/{address.uri}/notes.npz", b"")
    why = f"1 output with a damaged manifest left alone, such as {address.uri}"
    assert ("train linear", "would run", why) in told(store, models=["linear"], seed=5)


def test_what_cannot_be_read_is_passed_over_in_a_plan(store: LocalStore) -> None:
    prepared = put_prepared(store)
    readable = put_model(store, prepared, LINEAR, at="2026-01-01")
    store.write("models/digits/linear/newer/manifest.json", b"[" * 100_000)
    compared = f"seed 0 → 5; compared with {readable.uri} of 2026-01-01"
    assert ("train linear", "would run", compared) in told(store, models=["linear"], seed=5)
    (store.root / model_address("digits", LINEAR, prepared, 0) / "manifest.json").unlink()
    why = "1 output with a damaged manifest left alone, such as models/digits/linear/newer"
    assert ("train linear", "would run", why) in told(store, models=["linear"], seed=5)


def test_new_data_and_a_new_limit_are_named(store: LocalStore) -> None:
    model = put_model(store, Ref(uri="prepared/digits/old", sha256="a" * 64), LINEAR)
    put_prepared(store, limit=50)
    found = told(store, models=["linear"])
    assert ("prepare digits", "would run", "limit 50 → none") in found
    assert ("train linear", "would run", f"the prepared data; compared with {model.uri} of 2026-01-01") in found


def test_a_listed_recipe_has_sizes_and_a_time_that_grows_with_its_epochs(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    short, long = (steps(store, models=["digits-cnn"], epochs=epochs)[2] for epochs in (1, 20))
    assert short.counts is not None
    assert short.counts.parameters == 50_138
    assert short.seconds is not None
    assert long.seconds is not None
    assert long.seconds > short.seconds > 0
    assert steps(store, models=["digits-cnn"], overrides={"network": "softmax"})[2].counts is None


def test_a_plan_says_what_it_fetches_and_stores(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    frozen = {line.name: line for line in steps(store, dataset="cifar100", models=["mobilenet-frozen"])}
    sizes = {name: (line.fetched_bytes, line.stored_bytes) for name, line in frozen.items()}
    assert sizes["ingest cifar100"] == (250_000_000, 60_000 * 32 * 32 * 3)
    assert sizes["ingest weights of mobilenet"] == (50_000_000, 0)
    # 60,000 rows of twice 512 + 1,024 + 1,024 features in two bytes each: 614.4 MB.
    fetched, stored = sizes["compute features of mobilenet for mobilenet-frozen"]
    assert (fetched, stored) == (0, pytest.approx(614.4e6, rel=0.01))
    assert sizes["train mobilenet-frozen"] == (0, 4 * 8_683_812)
    assert sizes["evaluate mobilenet-frozen"] == (0, 15_000 * 100 * 4)
    store.write("raw/cifar100/index.json", b"{}")
    assert steps(store, dataset="cifar100", models=["mobilenet-frozen"])[0].fetched_bytes == 0
    assert all(line.stored_bytes == 0 for line in steps(store, dataset="cifar100") if line.state == "done")
