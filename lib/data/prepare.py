"""Which rows are train, validation and test, and what is in them. Pixels stay where ingest put them.

They are read a group of rows at a time, once to find equal ones and once to count those of train. 16 bytes of each row
are kept.
"""

import json
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lib.data.datasets import DatasetSpec, prepared_address
from lib.data.own import spec_of
from lib.data.parquet import ImageFile, LabelTable
from lib.data.profile import channel_statistics, count_values, pixel_table, rows_per_class
from lib.data.splits import Splits, limited, read_splits, split_rows, splits_parquet, validation_given
from lib.data.stored_profile import read_profile
from lib.errors import PermanentError
from lib.lineage.digests import digest_json
from lib.lineage.manifests import Manifest, Ref, commit, find, load, local_file, put_file
from lib.lineage.provenance import made_by
from lib.lineage.verify import Recomputed, check_address, must_equal
from lib.runtime.jobs import Emit
from lib.settings import Settings
from lib.store import Store

Tell = Callable[[int], None]
"""Told how many rows more have been read."""


class Pictures(NamedTuple):
    """What is kept of the images of a file."""

    digests: np.ndarray  # (N,) of 16 bytes
    blank: np.ndarray  # the rows whose pixels are of one value


def run(
    store: Store, settings: Settings, emit: Emit, *, spec: dict[str, Any], dataset: dict[str, Any], limit: int | None
) -> Ref:
    """The job's entry: commit splits and profile of `dataset`, unless they are there."""
    known = DatasetSpec.model_validate(spec)
    done, total = 0, sum(known.rows.values()) + known.rows["train"]

    def tell(rows: int) -> None:
        nonlocal done
        done += rows
        emit({"event": "reading", "rows": done, "of": total})

    return prepare(known, store, Ref.model_validate(dataset), limit, tell)


def prepare(spec: DatasetSpec, store: Store, dataset: Ref, limit: int | None, tell: Tell = lambda rows: None) -> Ref:
    """Commit splits and profile of `dataset`, unless they are there.

    `limit` asks for that many training rows; if there are no more, the result is that without a limit. Raises
    PermanentError where the data break the spec or the limit cannot be met.
    """
    limit = spec.limit_of(limit)
    address = prepared_address(spec, dataset, limit)
    if done := find(store, address):
        return done[0]
    started = time.monotonic()
    splits, profile, facts = _derive(spec, store, dataset, limit, tell)
    if facts["limit"] != limit:
        return prepare(spec, store, dataset, facts["limit"], tell)
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
    spec: DatasetSpec, store: Store, dataset: Ref, limit: int | None, tell: Tell = lambda rows: None
) -> tuple[Splits, dict[str, Any], dict[str, Any]]:
    """Splits, profile and facts."""
    manifest = load(store, dataset)
    files = {str(split): ImageFile(local_file(store, manifest, split)) for split in spec.rows}
    digests = {}
    for split, file in files.items():
        check_table(spec, split, file.table, file.image_shape)
        digests[split], blank = look(file, tell)
        check_pictures(spec, split, blank)
    labels = {split: file.table.labels for split, file in files.items()}
    validation = validation_given(spec, len(labels["train"]))
    duplicates = find_duplicates(digests["train"], labels["train"], digests["test"], validation)
    splits = split_rows(spec, labels["train"], labels["test"], duplicates)
    if limit is not None and limit >= len(splits.train):  # rows that equal a test row were left out
        limit = None
    splits = limited(splits, labels["train"], limit) if limit is not None else splits
    profile = _profile(spec, splits, files, tell)
    facts = {
        "dataset": spec.name,
        "limit": limit,
        "rows": {name: sum(counts) for name, counts in profile["rows_per_class"].items()},
        **{name: list(getattr(spec, name)) for name in ("image_shape", "class_names", "superclass_names")},
        "missing_values": sum(sum(file.table.missing.values()) for file in files.values()),
        "duplicates": {name: len(rows) for name, rows in duplicates.items()},
    }
    return splits, profile, facts


def _profile(spec: DatasetSpec, splits: Splits, files: dict[str, ImageFile], tell: Tell) -> dict[str, Any]:
    train, test = files["train"].table, files["test"].table
    labels = {
        "train": train.labels[splits.train],
        "validation": train.labels[splits.validation],
        "test": test.labels[splits.test],
    }
    counts = count_values(_images(files["train"], splits.train, tell), spec.image_shape)
    return {
        "rows_per_class": {name: rows_per_class(values, len(spec.class_names)) for name, values in labels.items()},
        "missing_values": {split: file.table.missing for split, file in files.items()},
        "channels": channel_statistics(counts),
        "pixels": pixel_table(counts),
    }


def _images(file: ImageFile, rows: np.ndarray, tell: Tell) -> Iterator[np.ndarray]:
    """Those of `rows`, which ascend: of one group of the file after the other."""
    for group, (start, end) in enumerate(pairwise(file.starts)):
        first, last = np.searchsorted(rows, (start, end))
        if first < last:
            yield file.read(group)[rows[first:last] - start]
        tell(int(end - start))


def look(file: ImageFile, tell: Tell = lambda rows: None) -> Pictures:
    """What is needed of all images of `file`, which is read once."""
    digests, blank = [], []
    for group, start in enumerate(file.starts[:-1]):
        images = file.read(group)
        digests.append(b"".join(blake2b(image.data, digest_size=16).digest() for image in images))
        pixels = images.reshape(len(images), -1)
        blank.append(start + np.flatnonzero(pixels.max(axis=1) == pixels.min(axis=1)))
        tell(len(images))
    return Pictures(np.frombuffer(b"".join(digests), "V16"), np.concatenate(blank))


def check_table(spec: DatasetSpec, split: str, table: LabelTable, image_shape: tuple[int, ...]) -> None:
    """Raise PermanentError where rows, shape, labels or balance break the spec."""
    rows = spec.rows[split]  # type: ignore[index]
    rule = f"{spec.name}: {split} must have"
    if len(table.labels) != rows:
        raise PermanentError(f"{rule} {rows:,} rows; received {len(table.labels):,}")
    if image_shape != spec.image_shape:
        raise PermanentError(f"{rule} images of {spec.image_shape}; received {image_shape}")
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


def check_pictures(spec: DatasetSpec, split: str, blank: np.ndarray) -> None:
    """Raise PermanentError where too many rows are `blank`. One's own images may be what they are."""
    if len(blank) > spec.rows[split] // 100 and not spec.images:  # type: ignore[index]
        raise PermanentError(
            f"{spec.name}: {split} must have pictures; rows {_some(blank)} are of one value throughout"
        )


def _some(values: np.ndarray) -> str:
    shown = (" ".join(str(value).split())[:60] for value in values[:5].tolist())
    return ", ".join(shown) + (", …" if len(values) > 5 else "")


def find_duplicates(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, validation: slice | None = None
) -> dict[str, np.ndarray]:
    """Rows of exactly equal images, told by the digests of training and test rows.

    `train_in_test`: training rows equal to a test row. `train_repeated`: training rows equal to an earlier
    training row. `train_grouped`: training rows that have an equal. `conflicting_groups`: the first row of each
    group whose equal training rows bear different `labels`. Where the training rows of `validation` are those of that
    split, `train_in_validation`: others that equal one of these, and no test row.
    """
    _, groups = np.unique(np.concatenate([train, test]), return_inverse=True)
    frame = pd.DataFrame({"group": groups[: len(train)], "label": labels})
    of_group = frame.groupby("group")["label"]
    first = ~frame["group"].duplicated()
    in_test = frame["group"].isin(groups[len(train) :])
    found = {
        "train_in_test": np.flatnonzero(in_test),
        "train_repeated": np.flatnonzero(~first),
        "train_grouped": np.flatnonzero(frame["group"].duplicated(keep=False)),
        "conflicting_groups": np.flatnonzero(first & (of_group.transform("min") != of_group.transform("max"))),
    }
    if validation is not None:
        in_validation = frame["group"].isin(frame["group"][validation]) & ~in_test
        found["train_in_validation"] = np.setdiff1d(np.flatnonzero(in_validation), np.arange(len(train))[validation])
    return found
