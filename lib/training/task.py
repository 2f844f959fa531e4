"""One training: what goes in, and the model that is committed in the end."""

import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from lib.data.rows import read_rows
from lib.lineage.digests import digest_arrays, digest_json
from lib.lineage.manifests import Manifest, Ref, StoredFile, commit, load, local_file, put_file
from lib.lineage.provenance import made_by
from lib.models.networks import HEAD, build, build_head
from lib.models.schema import RANDOM, Recipe
from lib.models.weights import check_start, weights_file
from lib.store import Store
from lib.training.batches import TrainingFeatures, TrainingImages, TrainingRows
from lib.training.checkpoints import Progress, State
from lib.training.features import predicting_features, read_features


@dataclass(frozen=True)
class Inputs:
    """What a trainer works on."""

    model: keras.Model
    rows: TrainingRows
    validation: tuple[np.ndarray, np.ndarray]
    """Inputs and labels."""


@dataclass(frozen=True)
class TrainingTask:
    """A recipe, the prepared data, a seed and, for a backbone, the weights and features that it starts from."""

    recipe: Recipe
    prepared: Ref
    seed: int
    weights: Ref | None = None
    features: Ref | None = None

    def __post_init__(self) -> None:
        check_start(self.recipe, self.weights)

    def inputs(self, store: Store, data: Manifest) -> Inputs:
        """Model and rows: features and the head alone where the recipe freezes its backbone, images and all else."""
        recipe, rows = self.recipe, read_rows(store, data, ("train", "validation"))
        train, validation = rows["train"], rows["validation"]
        if self.features is None:
            images = TrainingImages(train.images, train.labels, recipe.augmentation, recipe.batch_size, self.seed)
            return Inputs(self._build(store, data), images, (validation.images, validation.labels))
        features = read_features(store, load(store, self.features), ("train", "validation"))
        return Inputs(
            build_head(recipe, features["train"].shape[2], len(data.facts["class_names"]), self.seed),
            TrainingFeatures(features["train"], train.labels, recipe.batch_size, self.seed),
            (predicting_features(features["validation"]), validation.labels),
        )

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
        (model if self.features is None else model.get_layer(HEAD)).set_weights(weights)
        inputs = {"prepared": self.prepared, "weights": self.weights, "features": self.features}
        progress = last.progress
        manifest = Manifest(
            kind="model",
            inputs={name: ref for name, ref in inputs.items() if ref},
            facts=self._facts(store, data, model, progress),
            content={"weights": digest_weights(model), "history": digest_json(progress.history)},
            files=_put_files(store, address, model, progress),
            made_by=made_by(
                progress.seconds,
                checkpoint_seconds=round(progress.checkpoint_seconds, 3),
                last_state=last.digest(),
                machine=progress.machine,
                resumed_on=resumed_on,
            ),
        )
        return commit(store, address, manifest)

    def _build(self, store: Store, data: Manifest) -> keras.Model:
        shape, classes = tuple(data.facts["image_shape"]), len(data.facts["class_names"])
        with tempfile.TemporaryDirectory() as folder:
            file = weights_file(store, load(store, self.weights), Path(folder)) if self.weights else None
            return build(self.recipe, shape, classes, file, self.seed)

    def _facts(self, store: Store, data: Manifest, model: keras.Model, progress: Progress) -> dict[str, Any]:
        start = load(store, self.weights).facts["name"] if self.weights else RANDOM
        return {
            "dataset": data.facts["dataset"],
            "recipe": self.recipe.resolved(),
            "description": self.recipe.description,
            "baseline": self.recipe.baseline,
            "seed": self.seed,
            "limit": data.facts["limit"],
            "weights": start if self.recipe.backbone else None,
            "parameters": model.count_params(),
            "trainable_parameters": sum(int(np.prod(w.shape)) for w in model.trainable_weights),
            "epochs": progress.epoch,
            "kept_epoch": int(progress.best.get("epoch", progress.epoch)),
            "layers": _summary(model),
        }


def recompute(store: Store, manifest: Manifest) -> Iterator[tuple[str, str]]:
    """For verify: the digests of weights and history."""
    yield "weights", digest_weights(keras.saving.load_model(local_file(store, manifest, "model"), compile=False))
    history = pd.read_parquet(local_file(store, manifest, "history"))
    yield "history", digest_json(history.to_dict("records"))


def digest_weights(model: keras.Model) -> str:
    """sha256 over the paths and values of all weights."""
    return digest_arrays(zip((w.path for w in model.weights), model.get_weights(), strict=True))


def _put_files(store: Store, address: str, model: keras.Model, progress: Progress) -> dict[str, StoredFile]:
    history = pd.DataFrame(progress.history).astype({"epoch": int, "phase": int})
    table = io.BytesIO()
    history.to_parquet(table, index=False)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        model.save(file)
        return {
            "model": put_file(store, address, file.name, file),
            "history": put_file(store, address, "history.parquet", table.getvalue()),
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
