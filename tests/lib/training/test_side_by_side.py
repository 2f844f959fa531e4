"""Several frozen backbones: features of each are stored once, and one head is trained on all of them side by side."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib.data.datasets import DATASETS
from lib.data.ingest import ingest
from lib.data.prepare import prepare
from lib.data.rows import read_rows
from lib.errors import PermanentError
from lib.lineage.manifests import Ref, load, local_file
from lib.lineage.steps import SPLITS
from lib.lineage.verify import check_output
from lib.models.backbone_schema import Backbone
from lib.models.schema import Augmentation, Phase, Recipe, features_address
from lib.settings import Settings
from lib.store import LocalStore
from tests.lib.training.stored import features_of

SMALL = Backbone(name="small", image_px=16, weights="none", frozen=True, pooled=("first", "second"))
WIDE = Backbone(name="wide", image_px=20, weights="none", frozen=True)
RECIPE = Recipe(
    name="toy",
    datasets=("digits",),
    description="",
    network="standardised-dense-2048",
    backbone=SMALL,
    beside=(WIDE,),
    phases=(Phase(epochs=1, learning_rate=0.01),),
    augmentation=Augmentation(flip=True),
)
SETTINGS = Settings()
PLAIN = """
import sys
sys.modules.update(lib=None, flows=None, tasks=None)
import keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))
"""


@pytest.fixture(autouse=True, scope="module")
def tiny() -> Iterator[None]:
    """Two backbones whose layers have the same names."""
    import keras
    from keras import layers

    from lib.models.backbones import BACKBONES, Network

    def build(filters: int, include_top: bool, weights: None, input_shape: tuple[int, int, int]) -> Any:
        images = layers.Input(input_shape)
        first = layers.ReLU(name="first")(layers.BatchNormalization(name="bn")(layers.Conv2D(3, 3)(images)))
        return keras.Model(images, layers.Conv2D(filters, 3, name="second", activation="relu")(first))

    with pytest.MonkeyPatch.context() as patch:
        for name, filters in (("small", 5), ("wide", 7)):
            made = Network(lambda filters=filters, **given: build(filters, **given), layers.Rescaling(1 / 255))
            patch.setitem(BACKBONES, name, made)
        yield


@dataclass
class Made:
    """What a training of RECIPE left."""

    store: LocalStore
    prepared: Ref
    features: dict[str, Ref]
    model: Ref
    evaluation: Ref


@pytest.fixture(scope="module")
def made(tiny: None, tmp_path_factory: pytest.TempPathFactory) -> Made:
    from lib.evaluation.predictions import evaluate
    from lib.training.fit import train
    from lib.training.task import TrainingTask

    store, spec = LocalStore(tmp_path_factory.mktemp("store")), DATASETS["digits"]
    prepared = prepare(spec, store, ingest(spec, store, None, lambda *_: None), 100)
    features = {each.name: computed(store, prepared, RECIPE.alone(each)) for each in reversed(RECIPE.backbones)}
    model = train(store, SETTINGS, lambda _: None, TrainingTask(RECIPE, prepared, 0, {}, features))
    return Made(store, prepared, features, model, evaluate(store, lambda _: None, model))


def computed(store: LocalStore, prepared: Ref, recipe: Recipe) -> Ref:
    from lib.training.features import compute_features

    return compute_features(store, SETTINGS, lambda _: None, recipe, prepared, 0, None)


def test_each_backbones_features_are_those_of_a_recipe_with_it_alone(made: Made) -> None:
    single = Recipe(**{**dict(RECIPE), "name": "other", "backbone": WIDE, "beside": (), "dropout": 0.1})
    assert made.features["wide"].uri == features_address("digits", single, made.prepared, 0, None)
    before = sorted(made.store.root.rglob("*"))
    assert computed(made.store, made.prepared, single) == made.features["wide"]
    assert sorted(made.store.root.rglob("*")) == before, "nothing is computed again"


def test_a_model_names_the_features_of_its_first_backbone_as_ever_and_the_others_by_theirs(made: Made) -> None:
    inputs = load(made.store, made.model).inputs
    small, wide = made.features["small"], made.features["wide"]
    assert inputs == {"prepared": made.prepared, "features": small, "features-wide": wide}
    assert load(made.store, made.model).facts["weights"] == "none"


def test_features_stand_side_by_side_in_the_order_of_the_recipe(made: Made) -> None:
    order = [load(made.store, made.features[name]) for name in ("small", "wide")]
    found = features_of(made.store, *order, splits=SPLITS)
    assert {split: values.shape for split, values in found.items()} == {
        "train": (100, 2, 3 + 5 + 7), "validation": (144, 2, 15), "test": (360, 2, 15),
    }  # fmt: skip
    small, wide = (features_of(made.store, each, splits=("test",))["test"] for each in order)
    assert np.array_equal(found["test"][..., :8], small)
    assert np.array_equal(found["test"][..., 8:], wide)


def test_the_saved_model_is_whole_and_says_in_plain_keras_what_the_evaluation_says(made: Made, tmp_path: Path) -> None:
    from lib.evaluation.prediction_table import read_probabilities

    rows = read_rows(made.store, load(made.store, made.prepared), ("test",))["test"]
    np.save(tmp_path / "images.npy", rows.images)
    file = local_file(made.store, load(made.store, made.model), "model").absolute()
    paths = [str(file), str(tmp_path / "images.npy"), str(tmp_path / "said.npy")]
    subprocess.run([sys.executable, "-c", PLAIN, *paths], cwd=tmp_path, check=True, capture_output=True)
    stored = read_probabilities(made.store, load(made.store, made.evaluation), "test")
    assert np.load(tmp_path / "said.npy") == pytest.approx(stored, abs=5e-3), "features are kept in half precision"


def test_model_evaluation_and_features_are_verified_and_a_forged_input_is_named(made: Made) -> None:
    for ref in (*made.features.values(), made.model, made.evaluation):
        assert check_output(made.store, ref) == ""
    honest = load(made.store, made.model)
    other = computed(made.store, made.prepared, RECIPE.alone(WIDE).model_copy(update={"augmentation": Augmentation()}))
    for inputs, says in (
        ({**honest.inputs, "features-wide": other}, f"inputs.features-wide must be {made.features['wide'].uri},"),
        ({"prepared": made.prepared, "features": made.features["small"]}, "the list of inputs"),
    ):
        forged = honest.model_copy(update={"inputs": inputs})
        made.store.write(f"{made.model.uri}/manifest.json", forged.to_json())
        with pytest.raises(PermanentError) as caught:
            check_output(made.store, forged.ref(made.model.uri))
        assert says in str(caught.value)
    made.store.write(f"{made.model.uri}/manifest.json", honest.to_json())


def test_the_summary_lists_the_layers_of_all_backbones(made: Made) -> None:
    layers = load(made.store, made.model).facts["layers"]
    assert [line["layer"] for line in layers].count("second") == 2
    assert [line["output_shape"] for line in layers if line["layer"] == "side_by_side"] == ["(15,)"]
