"""Predict with a committed model, measure, draw."""

import io
import json
import time
from typing import Any

import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lib.data.rows import Rows, read_rows
from lib.errors import PermanentError
from lib.evaluation.metrics import SplitMetrics, measure
from lib.lineage.manifests import Manifest, Ref, commit, digest_array, digest_json, find, load, local_file, put_file
from lib.lineage.provenance import made_by
from lib.lineage.steps import evaluation_address
from lib.models.networks import HEAD
from lib.reporting import plots
from lib.runtime.interrupts import deferred_interrupts
from lib.runtime.jobs import Emit
from lib.settings import Settings
from lib.store import Store
from lib.training.devices import grow_gpu_memory
from lib.training.features import predicting_features, read_features

BATCH = 512
SAMPLE = 32
TOLERANCE = 0.02
"""Features are kept as float16."""
EXAMPLES = 20
SUMMARY = {"rows", "loss", "accuracy", "top5_accuracy", "macro_f1"}


def run(store: Store, settings: Settings, emit: Emit, *, model: dict[str, Any]) -> Ref:
    """The job's entry: commit the evaluation of `model`, unless it is there."""
    return evaluate(store, emit, Ref.model_validate(model))


def evaluate(store: Store, emit: Emit, model: Ref) -> Ref:
    """Commit metrics, predictions and pictures of `model` on train, validation and test."""
    made = load(store, model)
    dataset, recipe = made.facts["dataset"], made.facts["recipe"]["name"]
    address = evaluation_address(dataset, recipe, model)
    if done := find(store, address):
        return done[0]
    started = time.monotonic()
    prepared = load(store, made.inputs["prepared"])
    names: list[str] = prepared.facts["class_names"]
    grow_gpu_memory()
    network = keras.saving.load_model(local_file(store, made, "model"), compile=False)
    rows = read_rows(store, prepared, ("train", "validation", "test"))
    if "features" in made.inputs:
        features = read_features(store, load(store, made.inputs["features"]), tuple(rows))
        inputs = {split: predicting_features(values) for split, values in features.items()}
        predict = _head_of(network, rows["validation"].images, inputs["validation"])
    else:
        inputs, predict = {split: data.images for split, data in rows.items()}, network
    probabilities = {split: _predict(predict, values, split, emit) for split, values in inputs.items()}
    metrics = {split: measure(probabilities[split], data.labels, names) for split, data in rows.items()}
    scored = {split: (rows[split], probabilities[split]) for split in ("validation", "test")}
    pictures = _draw(pd.read_parquet(local_file(store, made, "history")), metrics["test"], *scored["test"], names)
    written = json.dumps({split: values.model_dump() for split, values in metrics.items()}).encode()
    files = {
        "metrics": put_file(store, address, "metrics.json", written),
        "predictions": put_file(store, address, "predictions.parquet", _predictions_parquet(scored)),
        **{name: put_file(store, address, f"{name}.png", picture) for name, picture in pictures.items()},
    }
    kept = (
        "dataset",
        "description",
        "baseline",
        "limit",
        "seed",
        "weights",
        "parameters",
        "trainable_parameters",
        "epochs",
        "kept_epoch",
    )
    facts = {
        **{name: made.facts[name] for name in kept},
        "recipe": recipe,
        "metrics": {split: values.model_dump(include=SUMMARY) for split, values in metrics.items()},
    }
    content = {f"{split}-probabilities": digest_array(values) for split, (_, values) in scored.items()}
    return commit(
        store,
        address,
        Manifest(
            kind="evaluation",
            inputs={"model": model, "prepared": made.inputs["prepared"]},
            facts=facts,
            content={**content, "metrics": digest_json({s: m.model_dump() for s, m in metrics.items()})},
            files=files,
            made_by=made_by(time.monotonic() - started),
        ),
    )


def _head_of(network: keras.Model, images: np.ndarray, features: np.ndarray) -> keras.Model:
    """The part of `network` that takes a frozen backbone's features: hours of work less, for the same probabilities.

    Raises PermanentError where the features are not those that `network` itself computes.
    """
    head: keras.Model = network.get_layer(HEAD)
    whole, short = (each.predict_on_batch(x[:SAMPLE]) for each, x in ((network, images), (head, features)))
    if (apart := float(np.abs(whole - short).max())) > TOLERANCE:
        raise PermanentError(
            f"the stored features must give what the whole model gives, to within {TOLERANCE}; received "
            f"probabilities {apart:.3f} apart; remove the features and the model, and run again"
        )
    return head


def _predict(network: keras.Model, inputs: np.ndarray, split: str, emit: Emit) -> np.ndarray:
    emit({"event": "evaluating", "split": split, "rows": len(inputs)})
    with deferred_interrupts():
        probabilities: np.ndarray = network.predict(inputs, batch_size=BATCH, verbose=0)
    return probabilities


def _draw(
    history: pd.DataFrame, metrics: SplitMetrics, rows: Rows, probabilities: np.ndarray, names: list[str]
) -> dict[str, bytes]:
    chosen = np.random.default_rng(0).choice(len(rows.labels), min(EXAMPLES, len(rows.labels)), replace=False)
    predicted = probabilities.argmax(axis=1)
    figures = {
        "curves": plots.learning_curves(history),
        "confusion": plots.confusion_matrix(metrics.confusion, names),
        "per_class": plots.per_class_accuracy([c.recall for c in metrics.per_class], names),
        "examples": plots.prediction_grid(
            rows.images[chosen],
            [names[label] for label in rows.labels[chosen]],
            [names[label] for label in predicted[chosen]],
            probabilities[chosen].max(axis=1).tolist(),
        ),
    }
    return {name: plots.png(figure) for name, figure in figures.items()}


def _predictions_parquet(scored: dict[str, tuple[Rows, np.ndarray]]) -> bytes:
    """One row an image of validation and test: split, index, label, predicted, and all probabilities."""
    tables = [
        pa.table(
            {
                "split": pa.array([split] * len(rows.labels)),
                "index": pa.array(rows.index.astype(np.int32)),
                "label": pa.array(rows.labels.astype(np.int16)),
                "predicted": pa.array(values.argmax(axis=1).astype(np.int16)),
                "probabilities": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1]),
            }
        )
        for split, (rows, values) in scored.items()
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.concat_tables(tables), buffer)
    return buffer.getvalue()
