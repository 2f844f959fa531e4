"""Measure what a model makes of corrupted test images."""

import importlib.metadata
import time
from typing import Any

import keras
import numpy as np

from lib.data.rows import StoredRows, open_rows
from lib.errors import PermanentError
from lib.evaluation.corrupted import UNCHANGED, VERSIONS, Version, encode_predicted, figures, read_predicted
from lib.evaluation.corruptions import corrupt
from lib.evaluation.predictions import open_network, predict_rows
from lib.lineage.digests import digest_array
from lib.lineage.manifests import Manifest, Ref, commit, find, load, put_file
from lib.lineage.provenance import made_by
from lib.lineage.steps import STEPS
from lib.lineage.verify import Recomputed, check_address, must_equal
from lib.models.networks import load_network
from lib.runtime.interrupts import deferred_interrupts
from lib.runtime.jobs import Emit
from lib.settings import Settings
from lib.store import Store
from lib.training.devices import machine, start_tensorflow

MOST_ROWS = 2_000
SEED = 0
"""Of the sample and of the noise: all models of a dataset are shown the same images."""
BLOCK_BYTES = 16_000_000
"""Of images that are corrupted in one go; as floating-point numbers they take several times as much."""
FACTS_OF_THE_MODEL = ("dataset", "limit", "seed")
CORRUPTED_BY = ("numpy", "pillow", "scipy")
"""Another version of these may corrupt images a little differently."""
SAMPLED_VERSIONS, SAMPLED_ROWS = 3, 64
"""What `recompute` predicts anew."""
LEAST_ALIKE = 0.95
"""Of these: where two classes are about as probable, another processor may choose the other one."""


def run(store: Store, settings: Settings, emit: Emit, *, model: dict[str, Any]) -> Ref:
    """The job's entry: commit the robustness of `model`, unless it is there."""
    start_tensorflow()
    return measure_robustness(store, emit, Ref.model_validate(model))


def measure_robustness(store: Store, emit: Emit, model: Ref) -> Ref:
    """Commit what `model` predicts of at most MOST_ROWS test images, unchanged and corrupted, and its accuracies."""
    made = load(store, model)
    dataset, recipe = made.facts["dataset"], made.facts["recipe"]["name"]
    address = STEPS["robustness"].address(dataset_name=dataset, recipe_name=recipe, model=model)
    if done := find(store, address):
        return done[0]
    started = time.monotonic()
    test = open_rows(store, load(store, made.inputs["prepared"]), ("test",))["test"]
    rows = _sample(len(test.labels))
    emit({"event": "evaluating", "split": "corrupted test images", "rows": len(VERSIONS) * len(rows)})
    predicted = _predict_all(open_network(store, made, test.images.take(rows[:1])), test, rows)
    manifest = Manifest(
        kind="robustness",
        inputs={"model": model, "prepared": made.inputs["prepared"]},
        facts=_facts(made, test.labels[rows], predicted),
        content={"predicted": digest_array(predicted)},
        files={
            "predictions": put_file(
                store, address, "predictions.parquet", encode_predicted(rows, test.labels[rows], predicted)
            )
        },
        made_by=made_by(time.monotonic() - started, machine=machine(), corrupted_by=_packages()),
    )
    return commit(store, address, manifest)


def recompute(store: Store, address: str, manifest: Manifest) -> Recomputed:
    """For verify: figures from the stored predictions, and a random sample of these from the model.

    Raises PermanentError where that gives other classes.
    """
    model = load(store, manifest.inputs["model"])
    name = {"dataset_name": model.facts["dataset"], "recipe_name": model.facts["recipe"]["name"]}
    check_address("robustness", address, **name, model=manifest.inputs["model"])
    must_equal(address, "inputs.prepared", model.inputs["prepared"].uri, manifest.inputs["prepared"].uri)
    test = open_rows(store, load(store, model.inputs["prepared"]), ("test",))["test"]
    rows, stored = _sample(len(test.labels)), read_predicted(store, manifest)
    must_equal(address, "rows of the predictions", rows.tolist(), stored.rows.tolist())
    must_equal(address, "labels of the predictions", test.labels[rows].tolist(), stored.labels.tolist())
    made, here = manifest.made_by.get("corrupted_by"), _packages()
    if alike := made == here:
        _check_sample(address, load_network(store, model), test, rows, stored.classes)
    return Recomputed(
        inputs=frozenset({"model", "prepared"}),
        facts=_facts(model, stored.labels, stored.classes),
        content={"predicted": digest_array(stored.classes)},
        files={"predictions": "predictions.parquet"},
        note="" if alike else f"{address}: no image is corrupted anew: it was made with {made}, and here are {here}",
    )


def _facts(model: Manifest, labels: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    found = figures(predicted, labels)
    return {
        **{name: model.facts[name] for name in FACTS_OF_THE_MODEL},
        "recipe": model.facts["recipe"]["name"],
        "rows": len(labels),
        "figures": {name: [each.model_dump(mode="json") for each in line] for name, line in found.items()},
    }


def _sample(test_rows: int) -> np.ndarray:
    """Which rows of test are shown, ascending: all, or MOST_ROWS of them."""
    drawn = np.random.Generator(np.random.PCG64(SEED)).permutation(test_rows)[:MOST_ROWS]
    return np.sort(drawn)


def _predict_all(network: keras.Model, test: StoredRows, rows: np.ndarray) -> np.ndarray:
    """Predicted classes (VERSIONS, N) int32 of these rows."""
    size = max(1, BLOCK_BYTES * len(test.images) // test.images.nbytes)
    blocks = [rows[first : first + size] for first in range(0, len(rows), size)]
    return np.concatenate([_predict_block(network, test.images.take(block), block) for block in blocks], axis=1)


def _predict_block(network: keras.Model, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    lines = []
    for version in VERSIONS:
        with deferred_interrupts():
            lines.append(_classes(network, images, rows, version))
    return np.stack(lines)


def _classes(network: keras.Model, images: np.ndarray, rows: np.ndarray, version: Version) -> np.ndarray:
    """(N,) int32"""
    name, severity = version
    shown = images if name == UNCHANGED else corrupt(images, name, severity, rows, SEED)
    classes: np.ndarray = predict_rows(network, shown).argmax(axis=1).astype(np.int32)
    return classes


def _check_sample(
    address: str, network: keras.Model, test: StoredRows, rows: np.ndarray, predicted: np.ndarray
) -> None:
    """Raise PermanentError where the model itself gives other classes to some images, drawn anew each time."""
    random = np.random.default_rng()
    for place in random.permutation(len(VERSIONS))[:SAMPLED_VERSIONS]:
        drawn = np.sort(random.permutation(len(rows))[:SAMPLED_ROWS])
        classes = _classes(network, test.images.take(rows[drawn]), rows[drawn], VERSIONS[place])
        if (alike := float(np.mean(classes == predicted[place][drawn]))) < LEAST_ALIKE:
            raise PermanentError(
                f"{address}: the stored predictions of {VERSIONS[place].column} must be those of its model, at least "
                f"{LEAST_ALIKE:.0%} of a sample; received {alike:.0%}"
            )


def _packages() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in CORRUPTED_BY}
