"""Features of a frozen backbone: computed once, kept in the store as Parquet, read by every head trained on them."""

import hashlib
import io
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from lib.data.rows import Rows, read_rows
from lib.data.splits import read_splits
from lib.errors import PermanentError
from lib.lineage.digests import digest_array
from lib.lineage.manifests import Manifest, Ref, StoredFile, commit, find, load, put_file
from lib.lineage.provenance import made_by
from lib.lineage.steps import SPLITS, checkpoints_address
from lib.lineage.verify import Recomputed, check_address, must_equal
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
        rows = read_rows(store, data, SPLITS)
        extract = _extractor(store, recipe, tuple(data.facts["image_shape"]), seed, starts)
        kept, files = _kept(store, address), {}
        found: dict[str, list[np.ndarray]] = {split: [] for split in rows}
        finished, total = 0, sum(len(part.labels) for part in rows.values())
        for split, name, images, index in _parts(rows):
            raise_if_interrupted()
            if name not in kept:
                table = _encode(_views(images, recipe.augmentation.flip, extract), index)
                kept[name] = put_file(store, address, f"{name}.parquet", table)
            files[name] = kept[name]
            found[split].append(_read_part(store, kept[name], index))
            finished += len(index)
            emit({"event": "features", "recipe": recipe.name, "rows": finished, "of": total})
    manifest = Manifest(
        kind="features",
        inputs={"prepared": prepared, **({"weights": weights} if weights else {})},
        facts={"dataset": data.facts["dataset"], "backbone": recipe.resolved()["backbone"], "rows": total},
        content={split: digest_array(np.concatenate(parts)) for split, parts in found.items()},
        files=files,
        made_by=made_by(time.monotonic() - started, machine=machine()),
    )
    return commit(store, address, manifest)


def read_features(store: Store, features: Manifest, splits: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Split → features (N, views, D) float16, in the order of `read_rows`.

    Raises PermanentError where they are not those of the rows of the split.
    """
    rows = read_splits(store, load(store, features.inputs["prepared"]))
    found = {split: _read_split(store, features, split, getattr(rows, split)) for split in splits}
    if len({values.shape[1:] for values in found.values()}) > 1:
        raise PermanentError(
            "the features of all splits must be of one kind; received several; remove them and run again"
        )
    return found


def read_side_by_side(
    store: Store,
    features: Iterable[Ref],
    splits: tuple[str, ...],
    form: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> dict[str, np.ndarray]:
    """Split → what `form` makes of the features of each of these backbones, side by side on the last axis."""
    found: dict[str, list[np.ndarray]] = {split: [] for split in splits}
    for each in features:
        for split, values in read_features(store, load(store, each), splits).items():
            found[split].append(form(values))
    # Each split is let go of before the next: no more than one lies in memory twice.
    return {split: _side_by_side(found.pop(split)) for split in splits}


def _side_by_side(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def _read_split(store: Store, features: Manifest, split: str, index: np.ndarray) -> np.ndarray:
    found, end = [], 0
    for first, last, name in parts_of(features.files, split):
        if first != end:
            break
        found.append(_read_part(store, features.files[name], index[first:last]))
        end = last
    if end != len(index):
        raise PermanentError(
            f"the features of {split} must be those of its {len(index):,} rows; received those of its first {end:,}; "
            "remove them and run again"
        )
    if len({part.shape[1:] for part in found}) > 1:
        raise PermanentError(
            f"the features of {split} must be of one kind; received several; remove them and run again"
        )
    return np.concatenate(found)


def parts_of(names: Iterable[str], split: str) -> list[tuple[int, int, str]]:
    """First row, the one after the last, and name of each part of `split`, in the order of its rows."""
    parts = [found for name in names if (found := re.fullmatch(rf"{split}-([0-9]+)-([0-9]+)", name))]
    # As numbers: as text, the rows from 1,000,000 on would come before row 2,000.
    return sorted((int(part[1]), int(part[2]), part[0]) for part in parts)


def recompute(store: Store, address: str, manifest: Manifest) -> Recomputed:
    """For verify: what the parts hold. Features are not computed again: a model is checked on whole images."""
    data, start = load(store, manifest.inputs["prepared"]), manifest.inputs.get("weights")
    rows, features = read_rows(store, data, SPLITS), read_features(store, manifest, SPLITS)
    if start:  # of a random start the seed is part of the key: the model that was trained on them knows it
        check_address(
            "features",
            address,
            dataset_name=data.facts["dataset"],
            backbone=manifest.facts["backbone"],
            mirrored=features["train"].shape[1] == 2,
            prepared=manifest.inputs["prepared"],
            start=start,
        )
    for split, part in rows.items():
        must_equal(address, f"the rows of {split}", len(part.labels), len(features[split]))
    return Recomputed(
        inputs=frozenset({"prepared", "weights"} if start else {"prepared"}),
        facts={
            "dataset": data.facts["dataset"],
            "backbone": manifest.facts["backbone"],
            "rows": sum(len(part.labels) for part in rows.values()),
        },
        content={split: digest_array(values) for split, values in features.items()},
        files={name: f"{name}.parquet" for _, name, _, _ in _parts(rows)},
    )


def predicting_features(features: np.ndarray) -> np.ndarray:
    """Features (N, views, D) → (N, D) float32, as the whole model computes them: those of the views, averaged."""
    averaged: np.ndarray = features.mean(axis=1, dtype=np.float32)
    return averaged


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


def _read_part(store: Store, part: StoredFile, index: np.ndarray) -> np.ndarray:
    """Features (n, views, D) float16 of the rows `index`."""
    path = store.local_path(part.path, part.sha256, part.size_bytes)
    try:
        features, its_index = _decode(path)
    except (pa.ArrowException, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise PermanentError(
            f"{part.path} must hold a table of features; received none ({type(error).__name__}); "
            "remove it and run again"
        ) from error
    if not np.array_equal(its_index, index):
        raise PermanentError(f"{part.path} must hold the features of its rows, not of others; remove it and run again")
    return features


def _decode(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, views, D) and their rows (n,) in the dataset's file."""
    table = pq.read_table(path, columns=["index", "mirrored", "features"])
    values = table["features"].combine_chunks()
    if values.null_count or values.flatten().null_count or values.type.value_type != pa.float16():
        raise ValueError("features are of type float16 and never null")
    views = 1 + int(table["mirrored"].to_numpy().any())
    features = values.flatten().to_numpy(zero_copy_only=False).reshape(-1, views, values.type.list_size)
    return features, table["index"].to_numpy()[::views]


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
