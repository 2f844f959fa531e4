"""Features of a frozen backbone are computed once, in parts that an interrupted run leaves to the next."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.data.datasets import DATASETS
from lib.data.ingest import ingest
from lib.data.prepare import prepare
from lib.data.rows import read_rows
from lib.errors import PermanentError
from lib.lineage.manifests import Manifest, Ref, StoredFile, load, put_file
from lib.lineage.steps import SPLITS
from lib.models.schema import Augmentation, Backbone, Phase, Recipe
from lib.runtime.interrupts import Interrupted
from lib.settings import Settings
from lib.store import LocalStore
from tests.lib.training.stored import features_of

RECIPE = Recipe(
    name="toy",
    datasets=("digits",),
    description="",
    network="standardised-dense-2048",
    backbone=Backbone(name="tiny", image_px=16, weights="none", pooled=("first", "second"), frozen=True),
    phases=(Phase(epochs=2, learning_rate=0.01),),
    augmentation=Augmentation(flip=True),
)
SETTINGS = Settings()


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backbone of two convolutions and a BatchNorm, and parts of 500 rows."""
    import keras
    from keras import layers

    from lib.models.backbones import BACKBONES, Network
    from lib.training import features

    def build(include_top: bool, weights: None, input_shape: tuple[int, int, int]) -> Any:
        images = layers.Input(input_shape)
        first = layers.ReLU(name="first")(layers.BatchNormalization()(layers.Conv2D(3, 3)(images)))
        return keras.Model(images, layers.Conv2D(5, 3, name="second", activation="relu")(first))

    monkeypatch.setitem(BACKBONES, "tiny", Network(build, layers.Rescaling(1 / 255)))
    monkeypatch.setattr(features, "PART_ROWS", 500)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalStore, Ref]:
    store, spec = LocalStore(tmp_path_factory.mktemp("store")), DATASETS["digits"]
    return store, prepare(spec, store, ingest(spec, store, None, lambda *_: None), None)


def compute(store: LocalStore, prepared: Ref, emit: Any = lambda _: None, seed: int = 0) -> Ref:
    from lib.training.features import compute_features

    return compute_features(store, SETTINGS, emit, RECIPE, prepared, seed, None)


def test_features_are_those_of_the_pooled_layers_of_each_view(filled: tuple[LocalStore, Ref]) -> None:
    from lib.models.networks import build_features
    from lib.training.stored_features import predicting_features

    store, prepared = filled
    manifest = load(store, compute(store, prepared))
    found = features_of(store, manifest, splits=SPLITS)
    assert {split: values.shape for split, values in found.items()} == {
        "train": (1293, 2, 8), "validation": (144, 2, 8), "test": (360, 2, 8),
    }  # fmt: skip
    images = read_rows(store, load(store, prepared), ("validation",))["validation"].images
    network = build_features(RECIPE, (32, 32, 1), None)
    plain, mirrored = (network.predict(views, verbose=0) for views in (images, images[:, :, ::-1]))
    assert np.stack([plain, mirrored], axis=1) == pytest.approx(found["validation"], rel=2e-3, abs=1e-4)
    assert predicting_features(found["validation"]) == pytest.approx((plain + mirrored) / 2, rel=2e-3, abs=1e-4)


def test_a_random_start_gives_other_features_by_another_seed(filled: tuple[LocalStore, Ref]) -> None:
    store, prepared = filled
    assert compute(store, prepared) == compute(store, prepared)
    assert compute(store, prepared, seed=1).uri != compute(store, prepared).uri


def test_parts_of_an_interrupted_run_are_used_again_and_a_damaged_one_is_not(
    filled: tuple[LocalStore, Ref], tmp_path: Path
) -> None:
    undisturbed, prepared = filled
    expected = compute(undisturbed, prepared)
    store = LocalStore(tmp_path)
    for path in [*undisturbed.list("prepared"), *undisturbed.list("datasets")]:
        store.write(path, undisturbed.read(path))

    def stop(event: dict[str, Any]) -> None:
        if event["rows"] == 1000:
            raise Interrupted(15)

    with pytest.raises(Interrupted):
        compute(store, prepared, stop)
    left = sorted((tmp_path / expected.uri).iterdir())
    assert [path.name.rsplit("-", 1)[0] for path in left] == ["train-000000-000500", "train-000500-001000"]
    left[1].write_bytes(b"damaged")
    written = left[0].stat().st_mtime_ns
    assert compute(store, prepared) == expected
    assert left[0].stat().st_mtime_ns == written, "it was not computed again"
    assert store.list(f"checkpoints/{expected.uri}") == []


def test_a_pretrained_backbone_without_weights_is_refused(filled: tuple[LocalStore, Ref]) -> None:
    from lib.training.features import compute_features

    store, prepared = filled
    pretrained = RECIPE.starting_from("imagenet")
    with pytest.raises(PermanentError, match=r"^toy starts from weights and received none; set --weights none"):
        compute_features(store, SETTINGS, lambda _: None, pretrained, prepared, 0, None)


def test_features_and_the_model_trained_on_them_are_verified(filled: tuple[LocalStore, Ref]) -> None:
    from lib.errors import PermanentError
    from lib.lineage.verify import check_output
    from lib.training.fit import train
    from lib.training.task import TrainingTask

    store, prepared = filled
    features = compute(store, prepared)
    task = TrainingTask(recipe=RECIPE, prepared=prepared, seed=0, features={"tiny": features})
    model = train(store, SETTINGS, lambda _: None, task)
    assert check_output(store, features) == check_output(store, model) == ""
    other = compute(store, prepared, seed=1)
    for ref, change, says in (
        (features, {"facts": load(store, features).facts | {"rows": 1}}, "facts.rows must be 1797,"),
        (features, {"content": load(store, other).content}, "test must have sha256 "),
        (
            features,
            {name: getattr(load(store, other), name) for name in ("files", "content")},
            "must name files that lie beside it",
        ),
        (
            model,
            {"inputs": load(store, model).inputs | {"features": other}},
            f"inputs.features must be {features.uri},",
        ),
    ):
        honest = load(store, ref)
        forged = honest.model_copy(update=change)
        store.write(f"{ref.uri}/manifest.json", forged.to_json())
        with pytest.raises(PermanentError) as caught:
            check_output(store, forged.ref(ref.uri))
        assert says in str(caught.value)
        store.write(f"{ref.uri}/manifest.json", honest.to_json())


@pytest.mark.parametrize("rows", [999_999, 1_010_000, 12_345_678])
def test_parts_are_in_the_order_of_their_rows_however_many_there_are(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lib.training import features
    from lib.training.stored_features import parts_of

    monkeypatch.setattr(features, "PART_ROWS", 2_000)
    written = [name for split in ("train", "test") for name, _ in features._parts(split, rows)]
    parts = parts_of(sorted(written), "train")
    assert [name for _, _, name in parts] == written[: len(written) // 2]
    assert [first for first, _, _ in parts] == list(range(0, rows, 2_000))
    assert parts[-1][1] == rows


@pytest.fixture
def changed(filled: tuple[LocalStore, Ref]) -> Callable[..., Manifest]:
    """Features whose manifest names other files under the names of its parts."""
    store, prepared = filled
    manifest = load(store, compute(store, prepared))

    def change(**files: StoredFile | None) -> Manifest:
        named = {**manifest.files, **{name.replace("_", "-"): file for name, file in files.items()}}
        return manifest.model_copy(update={"files": {name: file for name, file in named.items() if file}})

    return change


def test_features_of_other_rows_are_refused(filled: tuple[LocalStore, Ref], changed: Callable[..., Manifest]) -> None:
    store, first = filled[0], changed().files["train-000000-000500"]
    with pytest.raises(
        PermanentError, match=r"train-000000-000500-\w+\.parquet must hold the features of its rows, not"
    ):
        features_of(store, changed(train_000500_001000=first), splits=("train",))
    with pytest.raises(PermanentError, match=r"must be those of its 1,293 rows; received those of its first 500;"):
        features_of(store, changed(train_000500_001000=None), splits=("train",))


TABLES = {
    "no columns of ours": pa.table({"x": [1]}),
    "null features": pa.table(
        {"index": [0], "mirrored": [False], "features": pa.array([None], pa.list_(pa.float16(), 2))}
    ),
    "features of another type": pa.table({"index": [0], "mirrored": [False], "features": ["0.5"]}),
    "no rows": pa.table({"index": [], "mirrored": [], "features": []}),
    "garbage": b"garbage",
    "empty": b"",
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_file_that_holds_no_features_is_refused_in_one_line_that_names_it(
    table: pa.Table | bytes, filled: tuple[LocalStore, Ref], changed: Callable[..., Manifest]
) -> None:
    buffer = io.BytesIO()
    if isinstance(table, bytes):
        buffer.write(table)
    else:
        pq.write_table(table, buffer)
    file = put_file(filled[0], "elsewhere", "part.parquet", buffer.getvalue())
    with pytest.raises(PermanentError, match=rf"^{file.path} must hold a table of features; received none") as error:
        features_of(filled[0], changed(train_000000_000500=file), splits=("train",))
    assert "\n" not in str(error.value)


def test_batches_are_halved_where_memory_does_not_suffice() -> None:
    import tensorflow as tf

    from lib.training.devices import within_memory

    tried: list[int] = []

    def compute(batch_rows: int) -> np.ndarray:
        tried.append(batch_rows)
        if batch_rows > 100:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return np.arange(3)

    assert within_memory(compute, 512).tolist() == [0, 1, 2]
    assert tried == [512, 256, 128, 64]
    with pytest.raises(MemoryError):
        within_memory(lambda batch_rows: (_ for _ in ()).throw(MemoryError()), 4)
