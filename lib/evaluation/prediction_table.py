"""Predictions in Parquet: one row an image of validation and test, with the probability of each class."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lib.data.rows import Rows
from lib.errors import PermanentError


def encode_predictions(scored: Mapping[str, tuple[Rows, np.ndarray]]) -> bytes:
    """Split → its rows and probabilities (N, classes), as columns split, index, label, predicted, probabilities."""
    tables = [
        pa.table(
            {
                "split": pa.array([split] * len(rows.labels)),
                "index": pa.array(rows.index.astype(np.int32)),
                "label": pa.array(rows.labels.astype(np.int16)),
                "predicted": pa.array(values.argmax(axis=1).astype(np.int16)),
                "probabilities": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1]),
            }
        )
        for split, (rows, values) in scored.items()
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.concat_tables(tables), buffer)
    return buffer.getvalue()


def read_probabilities(file: Path, split: str) -> np.ndarray:
    """Probabilities (N, classes) of the rows of `split`, in their order."""
    table = pq.read_table(file, filters=[("split", "=", split)])
    values = table["probabilities"].combine_chunks()
    probabilities: np.ndarray = values.flatten().to_numpy(zero_copy_only=False).reshape(-1, values.type.list_size)
    return probabilities


def check_predictions(address: str, file: Path, scored: Mapping[str, tuple[Rows, np.ndarray]]) -> None:
    """Raise PermanentError where the table beside the probabilities says other rows, labels or choices."""
    table = pq.read_table(file, columns=["split", "index", "label", "predicted"])
    right = pq.read_table(io.BytesIO(encode_predictions(scored)), columns=table.column_names)
    for name in right.column_names:
        if not table[name].equals(right[name]):
            raise PermanentError(f"{address}: column {name} of the predictions does not follow from the data beside it")
