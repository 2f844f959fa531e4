"""Predict with a committed model on other prepared data than its own: that of a challenger, to be compared on it."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from lib.data.rows import StoredRows, open_rows
from lib.evaluation.prediction_table import HELD_OUT, check_predictions, encode_predictions, read_probabilities
from lib.evaluation.predictions import block_rows, check_sample, open_network, predict_rows
from lib.lineage.digests import digest_array
from lib.lineage.manifests import Manifest, Ref, commit, find, load, local_file, put_file
from lib.lineage.provenance import made_by
from lib.lineage.steps import STEPS
from lib.lineage.verify import Recomputed, check_address
from lib.runtime.interrupts import deferred_interrupts
from lib.runtime.jobs import Emit
from lib.store import Store
from lib.training.devices import machine


def reevaluate(store: Store, emit: Emit, model: Ref, prepared: Ref) -> Ref:
    """Commit the predictions of `model` on validation and test of `prepared`, unless they are there.

    That must have images of the same shape, and the same classes.
    """
    made, data = load(store, model), load(store, prepared)
    names = _names(made)
    address = STEPS["reevaluation"].address(**names, model=model, prepared=prepared)
    if done := find(store, address):
        return done[0]
    started = time.monotonic()
    rows = open_rows(store, data, HELD_OUT)
    network = open_network(store, made, rows["validation"].images.take(np.arange(1)))
    scored = {}
    for split, part in rows.items():
        emit({"event": "evaluating", "split": split, "rows": len(part.labels)})
        scored[split] = (part, np.concatenate([*_blocks(network, part)]))
    manifest = Manifest(
        kind="reevaluation",
        inputs={"model": model, "prepared": prepared},
        facts=_facts(made),
        content={f"{split}-probabilities": digest_array(values) for split, (_, values) in scored.items()},
        files={"predictions": put_file(store, address, "predictions.parquet", encode_predictions(scored))},
        made_by=made_by(time.monotonic() - started, machine=machine()),
    )
    return commit(store, address, manifest)


def recompute(store: Store, address: str, manifest: Manifest) -> Recomputed:
    """For verify: of a random sample, the model itself must give these probabilities."""
    model, prepared = manifest.inputs["model"], manifest.inputs["prepared"]
    made, data = load(store, model), load(store, prepared)
    check_address("reevaluation", address, **_names(made), model=model, prepared=prepared)
    rows = open_rows(store, data, HELD_OUT)
    scored = {split: (rows[split], read_probabilities(store, manifest, split)) for split in HELD_OUT}
    check_predictions(address, local_file(store, manifest, "predictions"), scored)
    check_sample(store, address, made, scored)
    return Recomputed(
        inputs=frozenset({"model", "prepared"}),
        facts=_facts(made),
        content={f"{split}-probabilities": digest_array(values) for split, (_, values) in scored.items()},
        files={"predictions": "predictions.parquet"},
    )


def _names(model: Manifest) -> dict[str, str]:
    return {"dataset_name": model.facts["dataset"], "recipe_name": model.facts["recipe"]["name"]}


def _facts(model: Manifest) -> dict[str, Any]:
    return {"dataset": model.facts["dataset"], "recipe": model.facts["recipe"]["name"], "seed": model.facts["seed"]}


def _blocks(network: Any, part: StoredRows) -> Iterator[np.ndarray]:
    """Probabilities (n, classes) of its rows, in order."""
    for block in part.images.blocks(block_rows(part.images)):
        with deferred_interrupts():
            probabilities = predict_rows(network, block)
        yield probabilities
