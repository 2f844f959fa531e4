"""Which rows are train, validation and test, and what is in them. Pixels stay where ingest put them."""

import json
import time
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd

from lib.data.datasets import DatasetSpec, prepared_address
from lib.data.own import spec_of
from lib.data.parquet import ImageTable, read_images
from lib.data.profile import channel_statistics, pixel_table, rows_per_class
from lib.data.splits import Splits, limited, read_splits, split_rows, splits_parquet
from lib.data.stored_profile import read_profile
from lib.errors import PermanentError
from lib.lineage.digests import digest_json
from lib.lineage.manifests import Manifest, Ref, commit, find, load, local_file, put_file
from lib.lineage.provenance import made_by
from lib.lineage.verify import Recomputed, check_address, must_equal
from lib.store import Store


def prepare(spec: DatasetSpec, store: Store, dataset: Ref, limit: int | None) -> Ref:
    """Commit splits and profile of `dataset`, unless they are there.

    `limit` asks for that many training rows; if there are no more, the result is that without a limit. Raises
    PermanentError where the data break the spec or the limit cannot be met.
    """
    limit = spec.limit_of(limit)
    address = prepared_address(spec, dataset, limit)
    if done := find(store, address):
        return done[0]
    started = time.monotonic()
    splits, profile, facts = _derive(spec, store, dataset, limit)
    if facts["limit"] != limit:
        return prepare(spec, store, dataset, facts["limit"])
    files = {
        "splits": put_file(store, address, "splits.parquet", splits_parquet(splits)),
        "profile": put_file(store, address, "profile.json", json.dumps(profile).encode()),
    }
    manifest = Manifest(
        kind="prepared",
        inputs={"dataset": dataset},
        facts=facts,
        content={**splits.content(), "profile": digest_json(profile)},
        files=files,
        made_by=made_by(time.monotonic() - started),
    )
    return commit(store, address, manifest)


def recompute(store: Store, address: str, manifest: Manifest) -> Recomputed:
    """For verify: splits, profile and facts, worked out again from the dataset."""
    dataset, limit = manifest.inputs["dataset"], manifest.facts["limit"]
    spec = spec_of(store, load(store, dataset))
    check_address("prepared", address, **spec.key_values(), dataset=dataset, limit=limit)
    splits, profile, facts = _derive(spec, store, dataset, limit)
    must_equal(address, "facts", facts, manifest.facts)  # before its files, which are read by them
    must_equal(address, "the rows of its splits", splits.content(), read_splits(store, manifest).content())
    stored = read_profile(store, manifest)
    must_equal(address, "profile", profile, stored)
    return Recomputed(
        inputs=frozenset({"dataset"}),
        facts=facts,
        content={**splits.content(), "profile": digest_json(stored)},
        files={"splits": "splits.parquet", "profile": "profile.json"},
    )


def _derive(
    spec: DatasetSpec, store: Store, dataset: Ref, limit: int | None
) -> tuple[Splits, dict[str, Any], dict[str, Any]]:
    """Splits, profile and facts."""
    manifest = load(store, dataset)
    tables = {split: read_images(local_file(store, manifest, split)) for split in spec.rows}
    for split, table in tables.items():
        check(spec, split, table)
    train, test = tables["train"], tables["test"]
    duplicates = find_duplicates(train, test)
    splits = split_rows(spec, train.labels, test.labels, duplicates)
    if limit is not None and limit >= len(splits.train):  # rows that equal a test row were left out
        limit = None
    splits = limited(splits, train.labels, limit) if limit is not None else splits
    profile = _profile(spec, splits, tables)
    facts = {
        "dataset": spec.name,
        "limit": limit,
        "rows": {name: sum(counts) for name, counts in profile["rows_per_class"].items()},
        **{name: list(getattr(spec, name)) for name in ("image_shape", "class_names", "superclass_names")},
        "missing_values": sum(sum(t.missing.values()) for t in tables.values()),
        "duplicates": {name: len(rows) for name, rows in duplicates.items()},
    }
    return splits, profile, facts


def _profile(spec: DatasetSpec, splits: Splits, tables: dict[Any, ImageTable]) -> dict[str, Any]:
    train, test = tables["train"], tables["test"]
    labels = {
        "train": train.labels[splits.train],
        "validation": train.labels[splits.validation],
        "test": test.labels[splits.test],
    }
    return {
        "rows_per_class": {name: rows_per_class(values, len(spec.class_names)) for name, values in labels.items()},
        "missing_values": {split: table.missing for split, table in tables.items()},
        "channels": channel_statistics(train.images, splits.train),
        "pixels": pixel_table(train.images, splits.train),
    }


def check(spec: DatasetSpec, split: str, table: ImageTable) -> None:
    """Raise PermanentError where rows, shape, labels, range or balance break the spec."""
    rows = spec.rows[split]  # type: ignore[index]
    rule = f"{spec.name}: {split} must have"
    if len(table.images) != rows:
        raise PermanentError(f"{rule} {rows:,} rows; received {len(table.images):,}")
    if table.images.shape[1:] != spec.image_shape:
        raise PermanentError(f"{rule} images of {spec.image_shape}; received {table.images.shape[1:]}")
    if nulls := sum(table.missing.values()):
        raise PermanentError(f"{rule} no missing values; received {nulls:,}")
    outside = np.flatnonzero((table.labels < 0) | (table.labels >= len(spec.class_names)))
    if len(outside):
        raise PermanentError(
            f"{rule} labels from 0 to {len(spec.class_names) - 1}; "
            f"rows {_some(outside)} have {_some(table.labels[outside])}"
        )
    counts = np.bincount(table.labels, minlength=len(spec.class_names))
    if not counts.all() and not spec.images:  # of a rare class of one's own, a split may have none
        raise PermanentError(f"{rule} every class; none of {_some(np.array(spec.class_names)[counts == 0])}")
    if spec.max_imbalance and counts.max() / counts.min() > spec.max_imbalance:
        raise PermanentError(
            f"{rule} classes within a factor of {spec.max_imbalance}; "
            f"received {counts.min()} to {counts.max()} rows a class"
        )
    blank = np.flatnonzero(table.images.reshape(rows, -1).max(axis=1) == table.images.reshape(rows, -1).min(axis=1))
    if len(blank) > rows // 100 and not spec.images:
        raise PermanentError(f"{rule} pictures; rows {_some(blank)} are of one value throughout")


def _some(values: np.ndarray) -> str:
    shown = (" ".join(str(value).split())[:60] for value in values[:5].tolist())
    return ", ".join(shown) + (", …" if len(values) > 5 else "")


def find_duplicates(train: ImageTable, test: ImageTable) -> dict[str, np.ndarray]:
    """Rows of exactly equal images.

    `train_in_test`: training rows equal to a test row. `train_repeated`: training rows equal to an earlier
    training row. `train_grouped`: training rows that have an equal. `conflicting_groups`: the first row of each
    group whose equal training rows bear different labels.
    """
    digests = {name: _row_digests(table.images) for name, table in (("train", train), ("test", test))}
    frame = pd.DataFrame({"digest": digests["train"], "label": train.labels})
    groups = frame.groupby("digest")["label"]
    first = ~frame["digest"].duplicated()
    return {
        "train_in_test": np.flatnonzero(frame["digest"].isin(set(digests["test"]))),
        "train_repeated": np.flatnonzero(~first),
        "train_grouped": np.flatnonzero(frame["digest"].duplicated(keep=False)),
        "conflicting_groups": np.flatnonzero(first & (groups.transform("nunique") > 1)),
    }


def _row_digests(images: np.ndarray) -> list[bytes]:
    return [blake2b(image.data, digest_size=16).digest() for image in images]
