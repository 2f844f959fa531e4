"""Features of a frozen backbone: computed once, kept in the store as Parquet, read by every head trained on them."""

import hashlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from lib.data.rows import Rows, read_rows
from lib.lineage.digests import digest_array
from lib.lineage.manifests import Manifest, Ref, StoredFile, commit, find, load, local_file, put_file
from lib.lineage.provenance import made_by
from lib.lineage.steps import checkpoints_address
from lib.lineage.verify import Recomputed, must_equal
from lib.models.networks import build_features
from lib.models.schema import Recipe, features_address
from lib.models.weights import check_start, weights_file
from lib.runtime.interrupts import raise_if_interrupted
from lib.runtime.jobs import Emit
from lib.runtime.leases import LEASE, lease
from lib.settings import Settings
from lib.store import Store

PART_ROWS = 2_000
BATCH = 250
SPLITS = ("train", "validation", "test")

Extract = Callable[[np.ndarray], np.ndarray]
"""Images (n, H, W, C) uint8 → features (n, D) float16."""


def run(
    store: Store,
    settings: Settings,
    emit: Emit,
    *,
    recipe: dict[str, Any],
    prepared: dict[str, Any],
    seed: int,
    weights: dict[str, Any] | None,
) -> Ref:
    """The job's entry: commit the features that `recipe` needs of `prepared`, unless they are there."""
    start = Ref.model_validate(weights) if weights else None
    return compute_features(
        store, settings, emit, Recipe.model_validate(recipe), Ref.model_validate(prepared), seed, start
    )


def compute_features(
    store: Store, settings: Settings, emit: Emit, recipe: Recipe, prepared: Ref, seed: int, weights: Ref | None
) -> Ref:
    """Commit the pooled features of train, validation and test, as they are and, where the recipe flips, mirrored.

    Parts that an interrupted run left are used again.
    """
    check_start(recipe, weights)
    data = load(store, prepared)
    address = features_address(data.facts["dataset"], recipe, prepared, seed, weights)
    lease_path = f"{checkpoints_address(address)}/{LEASE}"

    def wait(owner: str) -> None:
        emit({"event": "waiting", "for": owner})

    def warn(message: str) -> None:
        emit({"event": "warning", "message": message})

    with lease(store, lease_path, settings.lease_s, wait, warn):
        if done := find(store, address):
            return done[0]
        started = time.monotonic()
        rows = read_rows(store, data, SPLITS)
        extract = _extractor(store, recipe, tuple(data.facts["image_shape"]), seed, weights)
        kept, files = _kept(store, address), {}
        found: dict[str, list[np.ndarray]] = {split: [] for split in rows}
        finished, total = 0, sum(len(part.labels) for part in rows.values())
        for split, name, images, index in _parts(rows):
            raise_if_interrupted()
            if name not in kept:
                table = _encode(_views(images, recipe.augmentation.flip, extract), index)
                kept[name] = put_file(store, address, f"{name}.parquet", table)
            files[name] = kept[name]
            found[split].append(_decode(store.local_path(kept[name].path, kept[name].sha256)))
            finished += len(index)
            emit({"event": "features", "recipe": recipe.name, "rows": finished, "of": total})
    manifest = Manifest(
        kind="features",
        inputs={"prepared": prepared, **({"weights": weights} if weights else {})},
        facts={"dataset": data.facts["dataset"], "backbone": recipe.resolved()["backbone"], "rows": total},
        content={split: digest_array(np.concatenate(parts)) for split, parts in found.items()},
        files=files,
        made_by=made_by(time.monotonic() - started),
    )
    return commit(store, address, manifest)


def read_features(store: Store, features: Manifest, splits: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Split → features (N, views, D) float16, in the order of `read_rows`."""
    names = {split: sorted(name for name in features.files if name.startswith(f"{split}-")) for split in splits}
    return {
        split: np.concatenate([_decode(local_file(store, features, name)) for name in parts])
        for split, parts in names.items()
    }


def recompute(store: Store, address: str, manifest: Manifest) -> Recomputed:
    """For verify: what the parts hold. Features are not computed again: a model is checked on whole images."""
    data, start = load(store, manifest.inputs["prepared"]), manifest.inputs.get("weights")
    rows, features = read_rows(store, data, SPLITS), read_features(store, manifest, SPLITS)
    for split, part in rows.items():
        must_equal(address, f"the rows of {split}", len(part.labels), len(features[split]))
    key = {
        "dataset_name": data.facts["dataset"],
        "backbone": manifest.facts["backbone"],
        "mirrored": features["train"].shape[1] == 2,
        "prepared": manifest.inputs["prepared"],
        "start": start,
    }
    return Recomputed(
        inputs=frozenset({"prepared", "weights"} if start else {"prepared"}),
        facts={
            "dataset": data.facts["dataset"],
            "backbone": manifest.facts["backbone"],
            "rows": sum(len(part.labels) for part in rows.values()),
        },
        content={split: digest_array(values) for split, values in features.items()},
        files={name: f"{name}.parquet" for _, name, _, _ in _parts(rows)},
        # Of a random start the seed is part of the key: the model that was trained on them knows it.
        key=key if start else None,
    )


def predicting_features(features: np.ndarray) -> np.ndarray:
    """Features (N, views, D) → (N, D) float32, as the whole model computes them: those of the views, averaged."""
    averaged: np.ndarray = features.astype(np.float32).mean(axis=1)
    return averaged


def _extractor(store: Store, recipe: Recipe, shape: Any, seed: int, weights: Ref | None) -> Extract:
    with tempfile.TemporaryDirectory() as folder:
        file = weights_file(store, load(store, weights), Path(folder)) if weights else None
        model = build_features(recipe, shape, file, seed)
    images = tf.TensorSpec((None, *shape), tf.uint8)
    call = tf.function(lambda images: model(images, training=False), input_signature=[images])
    # With its variables made constants, TensorFlow folds BatchNorm into the convolutions: 1.3 times as fast.
    constant = convert_variables_to_constants_v2(call.get_concrete_function())

    def extract(images: np.ndarray) -> np.ndarray:
        batches = (images[start : start + BATCH] for start in range(0, len(images), BATCH))
        return np.concatenate([constant(tf.constant(batch))[0].numpy().astype(np.float16) for batch in batches])

    return extract


def _parts(rows: dict[str, Rows]) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Split, name, images and index of each part; the name says its first row and the one after its last."""
    for split, part in rows.items():
        for first in range(0, len(part.labels), PART_ROWS):
            last = min(first + PART_ROWS, len(part.labels))
            yield split, f"{split}-{first:06d}-{last:06d}", part.images[first:last], part.index[first:last]


def _views(images: np.ndarray, mirrored: bool, extract: Extract) -> np.ndarray:
    views = [images, images[:, :, ::-1]] if mirrored else [images]
    return np.stack([extract(np.ascontiguousarray(view)) for view in views], axis=1)


def _encode(features: np.ndarray, index: np.ndarray) -> bytes:
    """One row an image and view: the image's row in its dataset's file, whether it is mirrored, and its features."""
    rows, views, width = features.shape
    table = pa.table(
        {
            "index": pa.array(np.repeat(index.astype(np.int32), views)),
            "mirrored": pa.array(np.tile(np.arange(views) == 1, rows)),
            "features": pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), width),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="none", use_dictionary=False)
    return buffer.getvalue()


def _decode(path: Path) -> np.ndarray:
    table = pq.read_table(path)
    values = table["features"].combine_chunks()
    views = 1 + int(table["mirrored"].to_numpy().any())
    features: np.ndarray = values.flatten().to_numpy(zero_copy_only=False).reshape(-1, views, values.type.list_size)
    return features


def _kept(store: Store, address: str) -> dict[str, StoredFile]:
    """Whole parts that an interrupted run left, by name."""
    found = {}
    for path in store.list(address):
        name, _, digest = PurePosixPath(path).stem.rpartition("-")
        data = store.read(path)
        sha256 = hashlib.sha256(data).hexdigest()
        if digest == sha256[:12]:
            found[name] = StoredFile(path=path, sha256=sha256, size_bytes=len(data))
    return found
