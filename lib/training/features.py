"""Features of a frozen backbone: computed once, kept in the store as Parquet for every head trained on them."""

import hashlib
import io
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from lib.data.rows import open_rows
from lib.errors import PermanentError
from lib.lineage.digests import digest_blocks
from lib.lineage.manifests import Manifest, Ref, StoredFile, commit, find, load, put_file
from lib.lineage.provenance import made_by
from lib.lineage.steps import SPLITS, checkpoints_address
from lib.lineage.verify import Recomputed, check_address
from lib.models.networks import build_features
from lib.models.schema import Recipe, features_address
from lib.models.weights import check_start, weights_files
from lib.runtime.interrupts import raise_if_interrupted
from lib.runtime.jobs import Emit, waits, warns
from lib.runtime.leases import LEASE, lease
from lib.settings import Settings
from lib.store import Store
from lib.temporary import temporary_folder
from lib.training.devices import machine, start_tensorflow, within_memory
from lib.training.stored_features import open_features, read_part

PART_ROWS = 2_000
LARGEST_PART_BYTES = 1 << 31
BATCH_ROWS = 250
"""At most; half as many where memory does not suffice."""

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
    """The job's entry: commit the features of `recipe`'s one backbone of `prepared`, unless they are there."""
    start_tensorflow()
    start = Ref.model_validate(weights) if weights else None
    return compute_features(
        store, settings, emit, Recipe.model_validate(recipe), Ref.model_validate(prepared), seed, start
    )


def compute_features(
    store: Store, settings: Settings, emit: Emit, recipe: Recipe, prepared: Ref, seed: int, weights: Ref | None
) -> Ref:
    """Commit the pooled features of train, validation and test, as they are and, where the recipe flips, mirrored.

    They are those of its one backbone (`Recipe.alone`). Parts that an interrupted run left are used again.
    """
    starts = {each.name: weights for each in recipe.backbones if weights}
    check_start(recipe, starts)
    data = load(store, prepared)
    address = features_address(data.facts["dataset"], recipe, prepared, seed, weights)
    lease_path = f"{checkpoints_address(address)}/{LEASE}"

    with lease(store, lease_path, settings.lease_s, waits(emit), warns(emit)):
        if done := find(store, address):
            return done[0]
        started = time.monotonic()
        rows = open_rows(store, data, SPLITS)
        extract = _extractor(store, recipe, tuple(data.facts["image_shape"]), seed, starts)
        kept, files = _kept(store, address), dict[str, StoredFile]()
        total = sum(len(part.labels) for part in rows.values())

        def parts_in_order(split: str, finished: int) -> Iterator[np.ndarray]:
            for name, places in _parts(split, len(rows[split].labels)):
                raise_if_interrupted()
                index = rows[split].index[places]
                if name not in kept:
                    views = _views(rows[split].images.take(places), recipe.augmentation.flip, extract)
                    kept[name] = put_file(store, address, f"{name}.parquet", _encode(views, index))
                files[name] = kept[name]
                yield read_part(store, kept[name], index)
                emit({"event": "features", "recipe": recipe.name, "rows": finished + int(places[-1]) + 1, "of": total})

        content, finished = dict[str, str](), 0
        for split, part in rows.items():
            content[split] = digest_blocks(parts_in_order(split, finished))
            finished += len(part.labels)
    manifest = Manifest(
        kind="features",
        inputs={"prepared": prepared, **({"weights": weights} if weights else {})},
        facts={"dataset": data.facts["dataset"], "backbone": recipe.resolved()["backbone"], "rows": total},
        content=content,
        files=files,
        made_by=made_by(time.monotonic() - started, machine=machine()),
    )
    return commit(store, address, manifest)


def recompute(store: Store, address: str, manifest: Manifest) -> Recomputed:
    """For verify: what the parts hold. Features are not computed again: a model is checked on whole images."""
    data, start = load(store, manifest.inputs["prepared"]), manifest.inputs.get("weights")
    rows = open_rows(store, data, SPLITS)
    features = open_features(store, [manifest], rows)
    if start:  # of a random start the seed is part of the key: the model that was trained on them knows it
        check_address(
            "features",
            address,
            dataset_name=data.facts["dataset"],
            backbone=manifest.facts["backbone"],
            mirrored=features["train"].row_shape[0] == 2,
            prepared=manifest.inputs["prepared"],
            start=start,
        )
    return Recomputed(
        inputs=frozenset({"prepared", "weights"} if start else {"prepared"}),
        facts={
            "dataset": data.facts["dataset"],
            "backbone": manifest.facts["backbone"],
            "rows": sum(len(part.labels) for part in rows.values()),
        },
        content={split: digest_blocks(values) for split, values in features.items()},
        files={name: f"{name}.parquet" for split, part in rows.items() for name, _ in _parts(split, len(part.labels))},
    )


def _extractor(store: Store, recipe: Recipe, shape: Any, seed: int, weights: Mapping[str, Ref]) -> Extract:
    with temporary_folder() as folder:
        model = build_features(recipe, shape, weights_files(store, weights, folder), seed)
    images = tf.TensorSpec((None, *shape), tf.uint8)
    call = tf.function(lambda images: model(images, training=False), input_signature=[images])
    # With its variables made constants, TensorFlow folds BatchNorm into the convolutions: 1.3 times as fast.
    constant = convert_variables_to_constants_v2(call.get_concrete_function())

    def extract(images: np.ndarray) -> np.ndarray:
        def extract_by(batch_rows: int) -> np.ndarray:
            batches = (images[start : start + batch_rows] for start in range(0, len(images), batch_rows))
            return np.concatenate([constant(tf.constant(batch))[0].numpy().astype(np.float16) for batch in batches])

        return within_memory(extract_by, BATCH_ROWS)

    return extract


def _parts(split: str, rows: int) -> Iterator[tuple[str, np.ndarray]]:
    """Name and rows of each part; the name says its first row and the one after its last."""
    for first in range(0, rows, PART_ROWS):
        last = min(first + PART_ROWS, rows)
        yield f"{split}-{first:06d}-{last:06d}", np.arange(first, last)


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


def _kept(store: Store, address: str) -> dict[str, StoredFile]:
    """Whole parts that an interrupted run left, by name."""
    found = {}
    for path in store.list(address):
        name, _, digest = PurePosixPath(path).stem.rpartition("-")
        try:
            data = store.read(path, LARGEST_PART_BYTES)
        except PermanentError:  # it is no file, or none of ours
            continue
        sha256 = hashlib.sha256(data).hexdigest()
        if digest == sha256[:12]:
            found[name] = StoredFile(path=path, sha256=sha256, size_bytes=len(data))
    return found
