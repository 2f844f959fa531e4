"""Predict with a committed model and measure."""

import json
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import keras
import numpy as np

from lib.data.grouped import GroupedRows
from lib.data.rows import StoredRows, open_rows
from lib.errors import PermanentError, cause
from lib.evaluation.calibration import fit_temperature
from lib.evaluation.card import model_card
from lib.evaluation.held_out import as_resampled, held_out
from lib.evaluation.metrics import SplitMetrics, from_confusion, measure, measure_blocks, read_metrics
from lib.evaluation.prediction_table import HELD_OUT, check_predictions, encode_predictions, read_probabilities
from lib.evaluation.speed import images_per_second
from lib.lineage.digests import digest_array, digest_json
from lib.lineage.manifests import Manifest, Ref, commit, find, foreign, load, local_file, put_file
from lib.lineage.provenance import made_by
from lib.lineage.steps import SPLITS, STEPS
from lib.lineage.verify import Recomputed, check_address, must_equal
from lib.models.counts import count_flops, find_counts
from lib.models.networks import HEAD, load_network
from lib.models.schema import Recipe
from lib.runtime.failures import of_exception
from lib.runtime.interrupts import deferred_interrupts
from lib.runtime.jobs import Emit
from lib.runtime.usage import processor_seconds, usage
from lib.settings import Settings
from lib.store import Store
from lib.training.devices import machine, start_tensorflow, within_memory
from lib.training.stored_features import open_features, predicting_features

CARD = "README.md"
BATCH_ROWS = 512
"""At most; half as many where memory does not suffice."""
BLOCK_BYTES = 64_000_000
"""Of what is predicted from in one go."""
SAMPLE = 32
SHARE_OF_SPEED = 0.01
"""Of the time of an evaluation, for measuring how fast the model is with batches of one size."""
TOLERANCE = 0.02
"""Features are kept as float16."""
SUMMARY = {"rows", "loss", "accuracy", "top5_accuracy", "macro_f1", "intervals"}
Scored = dict[str, tuple[StoredRows, np.ndarray]]
"""Split → its rows and their probabilities (N, classes)."""
FACTS_OF_THE_MODEL = (
    *("dataset", "description", "baseline", "limit", "seed", "weights"),
    *("parameters", "trainable_parameters", "epochs", "kept_epoch"),
)


def run(store: Store, settings: Settings, emit: Emit, *, model: dict[str, Any]) -> Ref:
    """The job's entry: commit the evaluation of `model`, unless it is there."""
    start_tensorflow()
    return evaluate(store, emit, Ref.model_validate(model))


def evaluate(store: Store, emit: Emit, model: Ref) -> Ref:
    """Commit metrics and predictions of `model` on train, validation and test, and its card."""
    made = load(store, model)
    dataset, recipe = made.facts["dataset"], made.facts["recipe"]["name"]
    address = STEPS["evaluation"].address(dataset_name=dataset, recipe_name=recipe, model=model)
    if done := find(store, address):
        return done[0]
    started, processor_s = time.monotonic(), processor_seconds()
    prepared = load(store, made.inputs["prepared"])
    rows = open_rows(store, prepared, SPLITS)
    some = rows["validation"].images.take(np.arange(min(SAMPLE, len(rows["validation"].labels))))
    network = open_network(store, made, some)
    predict = _predictor(store, made, network, some, rows, emit)
    names: list[str] = prepared.facts["class_names"]
    metrics = {"train": measure_blocks(predict("train"), rows["train"].labels, names)}
    scored = {split: (rows[split], np.concatenate([*predict(split)])) for split in HELD_OUT}
    temperature = _temperature(scored)
    metrics |= _held_out(scored, names, temperature)
    written = {split: values.model_dump(mode="json") for split, values in metrics.items()}
    files = {
        "metrics": put_file(store, address, "metrics.json", json.dumps(written).encode()),
        "predictions": put_file(store, address, "predictions.parquet", encode_predictions(scored)),
        "card": put_file(store, address, CARD, model_card(store, model, metrics, made.made_by)),
    }
    content = {f"{split}-probabilities": digest_array(values) for split, (_, values) in scored.items()}
    manifest = Manifest(
        kind="evaluation",
        inputs={"model": model, "prepared": made.inputs["prepared"]},
        facts={
            **{name: made.facts[name] for name in FACTS_OF_THE_MODEL},
            "recipe": recipe,
            "temperature": temperature,
            "metrics": _summary(metrics),
        },
        content={**content, "metrics": digest_json(written)},
        files=files,
        made_by=_record(started, processor_s, made, network, some),
    )
    return commit(store, address, manifest)


def _record(
    started: float, processor_s: float, model: Manifest, network: keras.Model, images: np.ndarray
) -> dict[str, Any]:
    """What it took, beginning at those times of the clock and of the processor, and what the model takes."""
    speed = images_per_second(network, images, SHARE_OF_SPEED * (time.monotonic() - started))
    counts = find_counts(model.facts["dataset"], Recipe(datasets=(), description="", **model.facts["recipe"]))
    flops = counts.flops if counts else count_flops(network)
    cost = {"images_per_second": speed, "flops": flops, **usage(processor_seconds() - processor_s)}
    return made_by(time.monotonic() - started, machine=machine(), model=model.made_by, **cost)


def recompute(store: Store, address: str, manifest: Manifest) -> Recomputed:
    """For verify: metrics from the stored predictions, facts from the model, and the card from both.

    Raises PermanentError where predictions of a random sample are not the model's. Of train, whose predictions are not
    stored, metrics must follow from the confusion matrix; that, top-5 and loss are taken as they stand.
    """
    model = load(store, manifest.inputs["model"])
    name = {"dataset_name": model.facts["dataset"], "recipe_name": model.facts["recipe"]["name"]}
    check_address("evaluation", address, **name, model=manifest.inputs["model"])
    prepared = load(store, model.inputs["prepared"])
    must_equal(address, "inputs.prepared", model.inputs["prepared"].uri, manifest.inputs["prepared"].uri)
    stated = read_metrics(store, manifest)
    metrics = {split: values.model_dump(mode="json") for split, values in stated.items()}
    file, names = local_file(store, manifest, "predictions"), prepared.facts["class_names"]
    rows = open_rows(store, prepared, SPLITS)
    scored = {split: (rows[split], read_probabilities(store, manifest, split)) for split in HELD_OUT}
    check_predictions(address, file, scored)
    check_sample(store, address, model, scored)
    temperature = _temperature(scored)
    right = {
        split: as_resampled(values.model_dump(mode="json"), metrics[split])
        for split, values in _held_out(scored, names, temperature).items()
    }
    must_equal(address, "metrics", {"train": from_confusion(metrics["train"], rows["train"].labels), **right}, metrics)
    card = model_card(store, manifest.inputs["model"], stated, manifest.made_by["model"])
    must_equal(address, "sha256 of card", sha256(card).hexdigest(), manifest.files["card"].sha256)
    return Recomputed(
        inputs=frozenset({"model", "prepared"}),
        facts={
            **{name: model.facts[name] for name in FACTS_OF_THE_MODEL},
            "recipe": model.facts["recipe"]["name"],
            "temperature": temperature,
            "metrics": {split: {name: values[name] for name in SUMMARY} for split, values in metrics.items()},
        },
        content={
            "metrics": digest_json(metrics),
            **{f"{split}-probabilities": digest_array(values) for split, (_, values) in scored.items()},
        },
        files={"metrics": "metrics.json", "predictions": "predictions.parquet", "card": CARD},
    )


def check_sample(store: Store, address: str, model: Manifest, scored: dict[str, tuple[StoredRows, np.ndarray]]) -> None:
    """Raise PermanentError where the model itself gives other probabilities to some rows, drawn anew each time."""
    network = load_network(store, model)
    for split, (rows, probabilities) in scored.items():
        drawn = np.random.default_rng().permutation(len(rows.labels))[:SAMPLE]
        received = network.predict_on_batch(rows.images.take(drawn))
        if not (apart := float(np.abs(received - probabilities[drawn]).max())) <= TOLERANCE:
            raise PermanentError(
                f"{address}: the stored predictions on {split} must be those of its model, to within {TOLERANCE}; "
                f"received probabilities {apart:.3f} apart"
            )


def _predictor(
    store: Store, model: Manifest, network: keras.Model, some: np.ndarray, rows: dict[str, StoredRows], emit: Emit
) -> Callable[[str], Iterator[np.ndarray]]:
    """Split → blocks of probabilities (n, classes) of its rows, predicted as they are asked for.

    From the images or, where backbones are frozen, from their features in the store; `some` are the first images of
    validation.
    """
    inputs = {split: part.images for split, part in rows.items()}
    if "features" in model.inputs:
        names = Recipe(datasets=(), description="", **model.facts["recipe"]).inputs_of("features").values()
        stored = open_features(store, [load(store, model.inputs[name]) for name in names], rows)
        inputs = {split: features.mapped(predicting_features) for split, features in stored.items()}
        network = _head_of(network, some, inputs["validation"].take(np.arange(len(some))))

    def predict(split: str) -> Iterator[np.ndarray]:
        emit({"event": "evaluating", "split": split, "rows": len(inputs[split])})
        for block in inputs[split].blocks(block_rows(inputs[split])):
            with deferred_interrupts():
                probabilities = predict_rows(network, block)
            yield probabilities

    return predict


def block_rows(inputs: GroupedRows) -> int:
    """Whole batches of about BLOCK_BYTES."""
    return BATCH_ROWS * max(1, BLOCK_BYTES * len(inputs) // inputs.nbytes // BATCH_ROWS)


def predict_rows(network: keras.Model, inputs: np.ndarray) -> np.ndarray:
    return within_memory(lambda rows: network.predict(inputs, batch_size=rows, verbose=0), BATCH_ROWS)


def open_network(store: Store, model: Manifest, images: np.ndarray) -> keras.Model:
    """The model, which must take such images. Raises PermanentError where its file holds another one."""
    network = load_network(store, model)
    classes = len(load(store, model.inputs["prepared"]).facts["class_names"])
    try:
        fits = network(images[:1], training=False).shape == (1, classes)
    except Exception as error:
        if of_exception("predicting", error):  # memory, not the file
            raise
        raise foreign(store, model.files["model"].path, cause(error)) from error
    if not fits or ("features" in model.inputs and HEAD not in {layer.name for layer in network.layers}):
        raise foreign(store, model.files["model"].path, "a model of other images or classes")
    return network


def _head_of(network: keras.Model, images: np.ndarray, features: np.ndarray) -> keras.Model:
    """The part of `network` that takes frozen backbones' features: hours of work less, for the same probabilities.

    Raises PermanentError where `features` are not those that `network` itself computes of `images`.
    """
    head: keras.Model = network.get_layer(HEAD)
    if head.input_shape[-1] != features.shape[1]:
        raise PermanentError(
            f"the stored features must be those that the model takes, {head.input_shape[-1]} of an image; received "
            f"{features.shape[1]}; remove the features and the model, and run again"
        )
    whole, short = (each.predict_on_batch(x) for each, x in ((network, images), (head, features)))
    if (apart := float(np.abs(whole - short).max())) > TOLERANCE:
        raise PermanentError(
            f"the stored features must give what the whole model gives, to within {TOLERANCE}; received "
            f"probabilities {apart:.3f} apart; remove the features and the model, and run again"
        )
    return head


def _temperature(scored: Scored) -> float:
    """What calibrates the model: fitted on validation."""
    rows, probabilities = scored["validation"]
    return fit_temperature(probabilities, rows.labels)


def _held_out(scored: Scored, names: list[str], temperature: float) -> dict[str, SplitMetrics]:
    return {
        split: held_out(measure(values, rows.labels, names), values, rows.labels, temperature)
        for split, (rows, values) in scored.items()
    }


def _summary(metrics: dict[str, SplitMetrics]) -> dict[str, Any]:
    return {split: values.model_dump(mode="json", include=SUMMARY) for split, values in metrics.items()}
