"""Which rows are train, dev and test, and what is in them. Pixels stay where ingest put them."""

import io
import json
import time
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from lib.addresses import prepared_address
from lib.data.datasets import DatasetSpec
from lib.data.parquet import ImageTable, read_images
from lib.data.profile import channel_statistics, pixel_table, rows_per_class
from lib.errors import PermanentError
from lib.manifests import Manifest, Ref, commit, digest_array, digest_json, find, load, local_file, put_file
from lib.provenance import made_by
from lib.reporting.plots import class_distribution, png, sample_grid
from lib.store import Store

SAMPLES = 20


@dataclass(frozen=True)
class Splits:
    """Row numbers into the dataset's own files, ascending: train and dev into `train`, test into `test`."""

    train: np.ndarray
    dev: np.ndarray
    test: np.ndarray


def prepare(spec: DatasetSpec, store: Store, dataset: Ref, limit: int | None) -> Ref:
    """Commit splits, profile and pictures of `dataset`, unless they are there.

    `limit` asks for that many training rows, with dev and test in proportion. Raises PermanentError where the
    data break the spec or the limit cannot be met.
    """
    address = prepared_address(spec, dataset, limit)
    if done := find(store, address):
        return done[0]
    started = time.monotonic()
    manifest = load(store, dataset)
    tables = {split: read_images(local_file(store, manifest, split)) for split in spec.rows}
    for split, table in tables.items():
        check(spec, split, table)
    train, test = tables["train"], tables["test"]
    duplicates = find_duplicates(train, test)
    splits = limited(split_rows(spec, train.labels, test.labels, duplicates), train.labels, test.labels, limit)
    labels = {
        "train": train.labels[splits.train],
        "dev": train.labels[splits.dev],
        "test": test.labels[splits.test],
    }
    counts = {name: rows_per_class(values, len(spec.class_names)) for name, values in labels.items()}
    facts = {
        "dataset": spec.name,
        "limit": limit,
        "rows": {name: len(values) for name, values in labels.items()},
        "image_shape": list(spec.image_shape),
        "class_names": list(spec.class_names),
        "superclass_names": list(spec.superclass_names),
        "missing_values": sum(sum(t.missing.values()) for t in tables.values()),
        "duplicates": {name: len(rows) for name, rows in duplicates.items()},
    }
    profile: dict[str, Any] = {
        "rows_per_class": counts,
        "missing_values": {split: table.missing for split, table in tables.items()},
        "channels": channel_statistics(train.images, splits.train),
        "pixels": pixel_table(train.images, splits.train),
    }
    picks = limited_rows(train.labels, splits.train, SAMPLES)[:SAMPLES]
    titles = [spec.class_names[label] for label in train.labels[picks]]
    pictures = {
        "samples": png(sample_grid(train.images[picks], titles)),
        "distribution": png(class_distribution(counts, spec.class_names)),
    }
    files = {
        "splits": put_file(store, address, "splits.parquet", _splits_parquet(splits)),
        "profile": put_file(store, address, "profile.json", json.dumps(profile).encode()),
        **{name: put_file(store, address, f"{name}.png", picture) for name, picture in pictures.items()},
    }
    content = {name: digest_array(getattr(splits, name).astype("<i4")) for name in labels}
    return commit(
        store,
        address,
        Manifest(
            kind="prepared",
            inputs={"dataset": dataset},
            facts=facts,
            content={**content, "profile": digest_json(profile)},
            files=files,
            made_by=made_by(time.monotonic() - started),
        ),
    )


def read_splits(store: Store, prepared: Manifest) -> Splits:
    """The rows chosen by `prepare`."""
    frame = pd.read_parquet(local_file(store, prepared, "splits"))
    rows = {name: group["index"].to_numpy() for name, group in frame.groupby("split")}
    return Splits(rows["train"], rows["dev"], rows["test"])


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
            f"{rule} labels from 0 to {len(spec.class_names) - 1}; rows {_some(outside)} have {_some(table.labels[outside])}"
        )
    counts = np.bincount(table.labels, minlength=len(spec.class_names))
    if not counts.all():
        raise PermanentError(f"{rule} every class; none of {_some(np.array(spec.class_names)[counts == 0])}")
    if counts.max() / counts.min() > spec.max_imbalance:
        raise PermanentError(
            f"{rule} classes within a factor of {spec.max_imbalance}; received {counts.min()} to {counts.max()} rows a class"
        )
    blank = np.flatnonzero(table.images.reshape(rows, -1).max(axis=1) == table.images.reshape(rows, -1).min(axis=1))
    if len(blank) > rows // 100:
        raise PermanentError(f"{rule} pictures; rows {_some(blank)} are of one value throughout")


def _some(values: np.ndarray) -> str:
    return ", ".join(map(str, values[:5].tolist())) + (", …" if len(values) > 5 else "")


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


def split_rows(
    spec: DatasetSpec, train_labels: np.ndarray, test_labels: np.ndarray, duplicates: dict[str, np.ndarray]
) -> Splits:
    """Take `spec.dev_rows` stratified rows for dev.

    Training rows that equal a test row are left out. Rows that have an equal stay in train together, so that no
    image is on both sides.
    """
    usable = np.setdiff1d(np.arange(len(train_labels)), duplicates["train_in_test"])
    candidates = np.setdiff1d(usable, duplicates["train_grouped"])
    _, dev = train_test_split(
        candidates, test_size=spec.dev_rows, stratify=train_labels[candidates], random_state=spec.split_seed
    )
    return Splits(np.setdiff1d(usable, dev), np.sort(dev), np.arange(len(test_labels)))


def limited(splits: Splits, train_labels: np.ndarray, test_labels: np.ndarray, limit: int | None) -> Splits:
    """The first `limit` training rows in a class-balanced order, and dev and test in proportion."""
    classes = len(np.unique(train_labels))
    if limit is None or limit >= len(splits.train):
        return splits
    if limit < classes:
        raise PermanentError(f"--limit must be at least {classes}, one row of each class; received {limit}")
    share = limit / len(splits.train)
    return Splits(
        np.sort(limited_rows(train_labels, splits.train, limit)),
        np.sort(limited_rows(train_labels, splits.dev, max(classes, round(share * len(splits.dev))))),
        np.sort(limited_rows(test_labels, splits.test, max(classes, round(share * len(splits.test))))),
    )


def limited_rows(labels: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """The first `count` of `rows` in an order that first gives one of each class, then keeps their shares.

    A smaller count is a beginning of a larger one.
    """
    frame = pd.DataFrame({"row": np.random.default_rng(0).permutation(rows)})
    frame["label"] = labels[frame["row"]]
    by_class = frame.groupby("label")["row"]
    rank = by_class.cumcount()
    frame["place"] = ((rank + 0.5) / by_class.transform("size")).where(rank > 0, 0)
    return frame.sort_values(["place", "label"], kind="stable")["row"].to_numpy()[:count]


def _splits_parquet(splits: Splits) -> bytes:
    frame = pd.concat(
        pd.DataFrame({"index": rows.astype(np.int32), "split": name})
        for name, rows in (("train", splits.train), ("dev", splits.dev), ("test", splits.test))
    )
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()
