"""Predictions of images in Parquet: one row an image, also of those that cannot be read."""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lib.prediction.drift import FIGURES
from lib.prediction.inputs import InputRow

PREDICTED, UNREADABLE = "predicted", "unreadable"
"""What `status` says of an image."""


class Predicted(NamedTuple):
    """What a model says of some images that can be read."""

    labels: np.ndarray  # (n, top) the likeliest classes, the likeliest first
    probabilities: np.ndarray  # (n, top) float32, calibrated
    figures: np.ndarray  # (n, len(FIGURES)) float32


def top_classes(probabilities: np.ndarray, calibrated: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """The `top` likeliest classes by `probabilities` (N, classes), and what is `calibrated` of them: both (N, top)."""
    labels = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    return labels, np.take_along_axis(calibrated, labels, axis=1)


def schema(top: int, says: dict[str, Any]) -> pa.Schema:
    """Columns of a table with the `top` likeliest classes; `says` tells which model they are of, as metadata."""
    of_classes = dict[str, pa.DataType]()
    for place in range(1, top + 1):
        of_classes |= {f"class_{place}": pa.string(), f"probability_{place}": pa.float32()}
    return pa.schema(
        {
            **dict.fromkeys(("path", "sha256", "status", "reason"), pa.string()),
            **dict.fromkeys(("width", "height"), pa.int32()),
            "mode": pa.string(),
            "predicted": pa.string(),
            "confidence": pa.float32(),
            **of_classes,
            **dict.fromkeys(FIGURES, pa.float32()),
        },
        metadata={"predictions": json.dumps(says, sort_keys=True)},
    )


def as_table(
    rows: Sequence[InputRow], found: Sequence[Predicted], class_names: Sequence[str], columns: pa.Schema
) -> pa.Table:
    """`rows`, and what was `found` of those that can be read, in their order."""
    labels, probabilities, of_pixels = (np.concatenate(each) for each in zip(*found, strict=True))
    readable = np.array([row.reason is None for row in rows], bool)
    places = np.cumsum(readable) - 1

    def spread(values: np.ndarray) -> pa.Array:
        """`values` of the images that can be read, and null for the others."""
        of_rows = values[places] if len(values) else np.zeros(len(rows), values.dtype)
        return pa.array(of_rows, mask=~readable)

    names = pa.array(class_names, pa.string())
    named = [names.take(spread(labels[:, place])) for place in range(labels.shape[1])]
    values: dict[str, Any] = {
        "path": [row.path for row in rows],
        "sha256": [row.sha256 for row in rows],
        "status": [UNREADABLE if row.reason is not None else PREDICTED for row in rows],
        "reason": [row.reason for row in rows],
        "width": [row.width for row in rows],
        "height": [row.height for row in rows],
        "mode": [row.mode for row in rows],
        "predicted": named[0],
        "confidence": spread(probabilities[:, 0]),
        **{f"class_{place + 1}": each for place, each in enumerate(named)},
        **{f"probability_{place + 1}": spread(probabilities[:, place]) for place in range(len(named))},
        **{name: spread(of_pixels[:, place]) for place, name in enumerate(FIGURES)},
    }
    return pa.table([values[name] for name in columns.names], schema=columns)


def encode(table: pa.Table) -> bytes:
    """As Parquet: the same bytes for the same rows and version of pyarrow."""
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return stream.getvalue()


def rows_of(tables: Iterable[pa.Table]) -> Iterator[list[Any]]:
    """The values of each row of `tables`, for a digest of what they say."""
    for table in tables:
        columns = [column.to_pylist() for column in table.columns]
        yield from map(list, zip(*columns, strict=True))
