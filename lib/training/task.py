"""One training: what goes in, and the model that is committed in the end."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pandas as pd

from lib.data.grouped import GroupedRows
from lib.data.rows import open_rows, read_rows
from lib.errors import PermanentError
from lib.lineage.digests import digest_arrays, digest_json
from lib.lineage.manifests import Manifest, Ref, StoredFile, commit, load, local_file, put_file
from lib.lineage.provenance import made_by
from lib.lineage.verify import Recomputed, check_address, must_equal
from lib.models.backbone_schema import RANDOM
from lib.models.networks import HEAD, build, build_for_training, build_head, load_network
from lib.models.schema import Recipe, features_address
from lib.models.weights import check_start, weights_files
from lib.runtime.usage import usage
from lib.store import Store
from lib.temporary import temporary_folder
from lib.training.batches import PaddedImages, TrainingFeatures, TrainingImages, TrainingRows
from lib.training.checkpoints import Progress, State
from lib.training.history import read_history
from lib.training.stored_features import open_features, predicting_features
from lib.training.streamed import StreamedFeatures, StreamedImages

TOLERANCE = 1e-3
"""Between probabilities of one network that was built twice."""


@dataclass(frozen=True)
class Inputs:
    """What a trainer works on."""

    model: keras.Model
    rows: TrainingRows
    validation: tuple[np.ndarray | GroupedRows, np.ndarray]
    """Inputs and labels."""


@dataclass(frozen=True)
class TrainingTask:
    """A recipe, the prepared data, a seed and, by the name of each backbone, what it starts from and its features."""

    recipe: Recipe
    prepared: Ref
    seed: int
    weights: Mapping[str, Ref] = field(default_factory=dict)
    features: Mapping[str, Ref] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_start(self.recipe, self.weights)

    def inputs(self, store: Store, data: Manifest) -> Inputs:
        """Model and rows: features and the head alone where the recipe freezes its backbones, images and all else."""
        if self.features:
            return self._inputs_of_features(store, data)
        recipe = self.recipe
        network = self._build(store, data, build_for_training)
        if self._streams(data.facts["rows"]["train"] * prod(data.facts["image_shape"])):
            stored = open_rows(store, data, ("train", "validation"))
            train, validation = stored["train"], stored["validation"]
            streamed = StreamedImages(train.images, recipe.augmentation, train.labels, recipe.batch_size, self.seed)
            return Inputs(network, streamed, (validation.images, validation.labels))
        padded = PaddedImages((data.facts["rows"]["train"], *data.facts["image_shape"]), recipe.augmentation)
        rows = read_rows(store, data, ("train", "validation"), {"train": padded.images})
        images = TrainingImages(padded, rows["train"].labels, recipe.batch_size, self.seed)
        return Inputs(network, images, (rows["validation"].images, rows["validation"].labels))

    def _inputs_of_features(self, store: Store, data: Manifest) -> Inputs:
        recipe, rows = self.recipe, open_rows(store, data, ("train", "validation"))
        features = open_features(store, [load(store, each) for each in self._named("features").values()], rows)
        train, validation = features["train"], features["validation"].mapped(predicting_features)
        head = build_head(recipe, train.row_shape[1], len(data.facts["class_names"]), self.seed)
        options = rows["train"].labels, recipe.batch_size, self.seed
        if self._streams(train.nbytes):
            return Inputs(head, StreamedFeatures(train, *options), (validation, rows["validation"].labels))
        return Inputs(head, TrainingFeatures(train.all(), *options), (validation.all(), rows["validation"].labels))

    def _streams(self, size_bytes: int) -> bool:
        return size_bytes > self.recipe.stream_above_mb * 1_000_000

    def commit(
        self,
        store: Store,
        address: str,
        data: Manifest,
        weights: list[np.ndarray],
        last: State,
        resumed_on: list[dict[str, Any]],
    ) -> Ref:
        """Commit the whole model, raw images to probabilities in float32, without optimizer and loss.

        `weights` are those that the recipe keeps, `last` is the state at the end of the training.
        """
        keras.config.set_dtype_policy("float32")
        model = self._build(store, data)
        (model.get_layer(HEAD) if self.features else model).set_weights(weights)
        progress = last.progress
        files, architecture = _put_files(store, address, model, progress)
        manifest = Manifest(
            kind="model",
            inputs={"prepared": self.prepared, **self._named("weights"), **self._named("features")},
            facts=self._facts(store, data, model, progress),
            content={
                "weights": digest_weights(model),
                "architecture": architecture,
                "history": digest_json(progress.history),
            },
            files=files,
            made_by=made_by(
                progress.seconds,
                **usage(progress.processor_seconds),
                checkpoint_seconds=round(progress.checkpoint_seconds, 3),
                last_state=last.digest(),
                machine=progress.machine,
                resumed_on=resumed_on,
            ),
        )
        return commit(store, address, manifest)

    def _build(self, store: Store, data: Manifest, builder: Callable[..., keras.Model] = build) -> keras.Model:
        shape, classes = tuple(data.facts["image_shape"]), len(data.facts["class_names"])
        with temporary_folder() as folder:
            files = weights_files(store, self.weights, folder)
            return builder(self.recipe, shape, classes, files, self.seed)

    def _named(self, kind: Literal["weights", "features"]) -> dict[str, Ref]:
        """Those of each backbone as the model's manifest names them, in the order of the backbones."""
        found: Mapping[str, Ref] = getattr(self, kind)
        return {name: found[backbone] for backbone, name in self.recipe.inputs_of(kind).items() if backbone in found}

    def _facts(self, store: Store, data: Manifest, model: keras.Model, progress: Progress) -> dict[str, Any]:
        return {
            "dataset": data.facts["dataset"],
            "recipe": self.recipe.resolved(),
            "description": self.recipe.description,
            "baseline": self.recipe.baseline,
            "seed": self.seed,
            "limit": data.facts["limit"],
            "weights": _start(store, self.recipe, self.weights),
            "epochs": progress.epoch,
            "kept_epoch": int(progress.best.get("epoch", progress.epoch)),
            **_sizes(model),
        }


def recompute(store: Store, address: str, manifest: Manifest) -> Recomputed:
    """For verify: what the stored model is and what follows from it, its history and its inputs; it is not trained.

    Raises PermanentError where it does not compute what its recipe's network computes with the same weights.
    """
    stated, inputs = manifest.facts, manifest.inputs
    recipe = Recipe(datasets=(), description="", **stated["recipe"])
    data = load(store, inputs["prepared"]).facts
    starts = {each: inputs[name] for each, name in recipe.inputs_of("weights").items() if name in inputs}
    key = recipe.key_values(stated["seed"], starts)
    check_address("model", address, dataset_name=data["dataset"], prepared=inputs["prepared"], **key)
    model = load_network(store, manifest)
    _check_function(address, model, build(recipe, tuple(data["image_shape"]), len(data["class_names"])))
    history = read_history(store, manifest).to_dict("records")
    features = recipe.inputs_of("features") if recipe.frozen else {}
    for backbone in recipe.backbones:
        if (name := features.get(backbone.name)) in inputs:
            made_of = data["dataset"], recipe.alone(backbone), inputs["prepared"], stated["seed"]
            expected = features_address(*made_of, starts.get(backbone.name))
            must_equal(address, f"inputs.{name}", expected, inputs[name].uri)
    return Recomputed(
        inputs=frozenset({"prepared", *(recipe.inputs_of("weights")[each] for each in starts), *features.values()}),
        facts={
            "dataset": data["dataset"],
            "recipe": recipe.resolved(),
            # What follows from nothing; the address follows from the seed.
            **{name: stated[name] for name in ("description", "baseline", "seed")},
            "limit": data["limit"],
            "weights": _start(store, recipe, starts),
            "epochs": len(history),
            "kept_epoch": _kept_epoch(recipe, history),
            **_sizes(model),
        },
        content={
            "weights": digest_weights(model),
            "architecture": digest_architecture(local_file(store, manifest, "model")),
            "history": digest_json(history),
        },
        files={"model": "model.keras", "history": "history.parquet"},
    )


def _start(store: Store, recipe: Recipe, weights: Mapping[str, Ref]) -> str | None:
    """What the facts of a model call its start; that of several backbones has one name."""
    names = [load(store, weights[each.name]).facts["name"] for each in recipe.backbones if each.name in weights]
    return (names or [RANDOM])[0] if recipe.backbone else None


def _check_function(address: str, model: keras.Model, rebuilt: keras.Model) -> None:
    """Raise PermanentError where two networks of equal weights give unequal probabilities."""
    rebuilt.set_weights(model.get_weights())
    images = np.random.default_rng().integers(0, 256, (4, *rebuilt.input_shape[1:])).astype(np.uint8)
    expected, received = (np.asarray(each(images, training=False)) for each in (rebuilt, model))
    # Not `>`: what is no number is not near.
    if expected.shape != received.shape or not np.abs(expected - received).max() <= TOLERANCE:
        raise PermanentError(f"{address}: model.keras does not compute what its recipe's network does with its weights")


def _kept_epoch(recipe: Recipe, history: list[dict[Any, Any]]) -> int:
    """The first epoch of the highest validation accuracy, or the last."""
    accuracies = [line["validation_accuracy"] for line in history]
    return accuracies.index(max(accuracies)) + 1 if recipe.keep == "best" else len(history)


def digest_architecture(file: Path) -> str:
    """sha256 of all that a .keras file says of a model but its weights: layers, their settings and connections."""
    with zipfile.ZipFile(file) as parts:
        return digest_json(_without_object_ids(json.loads(parts.read("config.json"))))


def _without_object_ids(config: Any) -> Any:
    """Keras marks what layers share by a number that differs from process to process."""
    if isinstance(config, dict):
        return {name: _without_object_ids(each) for name, each in config.items() if name != "shared_object_id"}
    return [_without_object_ids(each) for each in config] if isinstance(config, list) else config


def digest_weights(model: keras.Model) -> str:
    """sha256 over the paths and values of all weights."""
    return digest_arrays(zip((w.path for w in model.weights), model.get_weights(), strict=True))


def _put_files(store: Store, address: str, model: keras.Model, progress: Progress) -> tuple[dict[str, StoredFile], str]:
    """The stored files, and the digest of the model's architecture."""
    history = pd.DataFrame(progress.history).astype({"epoch": int, "phase": int})
    table = io.BytesIO()
    history.to_parquet(table, index=False)
    with temporary_folder() as folder:
        file = folder / "model.keras"
        model.save(file)
        files = {
            "model": put_file(store, address, file.name, file),
            "history": put_file(store, address, "history.parquet", table.getvalue()),
        }
        return files, digest_architecture(file)


def _sizes(model: keras.Model) -> dict[str, Any]:
    """Facts of the network alone."""
    return {
        "parameters": model.count_params(),
        "trainable_parameters": sum(int(np.prod(w.shape)) for w in model.trainable_weights),
        "layers": _summary(model),
    }


def _summary(model: keras.Model) -> list[dict[str, Any]]:
    """The model's layers in order, those of a model within it in its place."""
    lines = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            lines += _summary(layer)
        else:
            lines.append(
                {
                    "layer": layer.name,
                    "type": type(layer).__name__,
                    "output_shape": str(tuple(layer.output.shape)[1:]),
                    "parameters": layer.count_params(),
                }
            )
    return lines
