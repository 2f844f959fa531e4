"""Predictions in Parquet: one row an image of validation and test, with the probability of each class."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lib.data.parquet import label_type
from lib.data.rows import SplitRows
from lib.errors import PermanentError
from lib.lineage.manifests import Manifest, load, read_file
from lib.store import Store

HELD_OUT = ("validation", "test")
"""The splits whose probabilities are kept."""
COLUMNS = ("split", "index", "label", "predicted", "probabilities")


def encode_predictions(scored: Mapping[str, tuple[SplitRows, np.ndarray]]) -> bytes:
    """Split → its rows and probabilities (N, classes), as columns split, index, label, predicted, probabilities."""
    tables = [
        pa.table(
            {
                "split": pa.array([split] * len(rows.labels)),
                "index": pa.array(rows.index.astype(np.int32)),
                "label": pa.array(rows.labels, label_type(values.shape[1] - 1)),
                "predicted": pa.array(values.argmax(axis=1), label_type(values.shape[1] - 1)),
                "probabilities": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1]),
            }
        )
        for split, (rows, values) in scored.items()
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.concat_tables(tables), buffer)
    return buffer.getvalue()


def read_probabilities(store: Store, evaluation: Manifest, split: str) -> np.ndarray:
    """Probabilities (N, classes) of the rows of `split`, in their order.

    Raises PermanentError where they are not those of so many rows and classes.
    """
    data = load(store, evaluation.inputs["prepared"]).facts
    shape = data["rows"][split], len(data["class_names"])

    def read(path: Path) -> np.ndarray:
        _check_count(path, data)
        kinds = pq.read_schema(path)
        if missing := {*COLUMNS} - {*kinds.names}:
            raise ValueError(f"without the columns {', '.join(sorted(missing))}")
        table = pq.read_table(path, filters=[("split", "=", split)])
        values = table["probabilities"].combine_chunks()
        if values.type != pa.list_(pa.float32(), shape[1]) or values.null_count or len(values) != shape[0]:
            raise ValueError(f"{len(values):,} of {values.type} for {split}, and not {shape[0]:,} rows of {shape[1]:,}")
        probabilities: np.ndarray = values.flatten().to_numpy().reshape(shape)
        if not np.isfinite(probabilities).all():
            raise ValueError("probabilities that are no numbers")
        return probabilities

    return read_file(store, evaluation, "predictions", read)


class Choices(NamedTuple):
    """What a model took the images of a split for, in the order of their rows."""

    labels: np.ndarray  # (N,) the true classes
    predicted: np.ndarray  # (N,)


def read_right(store: Store, evaluation: Manifest, split: str) -> np.ndarray:
    """Which images of `split` are classified correctly, (N,) bool. Raises as `read_choices` does."""
    labels, predicted = read_choices(store, evaluation, split)
    right: np.ndarray = labels == predicted
    return right


def read_choices(store: Store, evaluation: Manifest, split: str) -> Choices:
    """The true and the predicted classes of `split`.

    Raises PermanentError where the table is not one of so many rows and classes.
    """
    data = load(store, evaluation.inputs["prepared"]).facts
    rows, classes = data["rows"][split], len(data["class_names"])

    def read(path: Path) -> Choices:
        _check_count(path, data)
        table = pq.read_table(path, columns=["label", "predicted"], filters=[("split", "=", split)])
        if len(table) != rows or table["label"].null_count or table["predicted"].null_count:
            raise ValueError(f"{len(table):,} rows for {split}, and not {rows:,}")
        found = Choices(table["label"].to_numpy(), table["predicted"].to_numpy())
        if any(each.min() < 0 or each.max() >= classes for each in found):
            raise ValueError(f"classes of {split} beyond the {classes:,} of the data")
        return found

    return read_file(store, evaluation, "predictions", read)


def _check_count(path: Path, data: dict[str, Any]) -> None:
    """Raise ValueError, before any row is read, where there are not as many as `data` has."""
    if (count := pq.read_metadata(path).num_rows) != (must := sum(data["rows"][split] for split in HELD_OUT)):
        raise ValueError(f"{count:,} rows, and not {must:,}")


def check_predictions(address: str, file: Path, scored: Mapping[str, tuple[SplitRows, np.ndarray]]) -> None:
    """Raise PermanentError where the table beside the probabilities says other rows, labels or choices."""
    table = pq.read_table(file, columns=["split", "index", "label", "predicted"])
    right = pq.read_table(io.BytesIO(encode_predictions(scored)), columns=table.column_names)
    for name in right.column_names:
        if not table[name].equals(right[name]):
            raise PermanentError(f"{address}: column {name} of the predictions does not follow from the data beside it")
