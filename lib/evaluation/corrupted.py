"""What a model predicts of corrupted test images, as a table in Parquet, and its figures."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from lib.errors import cause
from lib.evaluation.corruptions import CORRUPTIONS, SEVERITIES
from lib.evaluation.intervals import Interval, wilson
from lib.lineage.manifests import MANIFEST, Manifest, Ref, foreign, read_file
from lib.store import Store

UNCHANGED = "unchanged"


class Version(NamedTuple):
    """One way in which images are shown to a model."""

    corruption: str
    """UNCHANGED, or one of CORRUPTIONS."""
    severity: int
    """0 where they are unchanged."""

    @property
    def column(self) -> str:
        return f"{self.corruption}_{self.severity}" if self.severity else self.corruption


VERSIONS = [Version(UNCHANGED, 0), *(Version(name, severity) for name in CORRUPTIONS for severity in SEVERITIES)]


class Figure(BaseModel):
    """Of one version of the images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: int
    accuracy: float
    interval: Interval
    """Wilson's, of 95 %."""


FIGURES = TypeAdapter(dict[str, list[Figure]])


def figures(predicted: np.ndarray, labels: np.ndarray) -> dict[str, list[Figure]]:
    """UNCHANGED and each corruption → its figures by severity, of classes (VERSIONS, N) and labels (N,)."""
    found: dict[str, list[Figure]] = {}
    for version, classes in zip(VERSIONS, predicted, strict=True):
        right = int((classes == labels).sum())
        interval = wilson(right, len(labels))
        figure = Figure(severity=version.severity, accuracy=right / len(labels), interval=interval)
        found.setdefault(version.corruption, []).append(figure)
    return found


def mean_accuracy(found: Mapping[str, list[Figure]]) -> float:
    """Over all corruptions and severities, each counting the same."""
    return float(np.mean([each.accuracy for name, line in found.items() if name != UNCHANGED for each in line]))


def read_figures(store: Store, robustness: Ref, manifest: Manifest) -> dict[str, list[Figure]]:
    """Those that the manifest states. Raises PermanentError where they are not such figures."""
    try:
        found: dict[str, list[Figure]] = FIGURES.validate_python(manifest.facts["figures"])
        if [(name, each.severity) for name, line in found.items() for each in line] != VERSIONS:
            raise ValueError("figures of other corruptions or severities")
    except (ValidationError, ValueError) as error:
        raise foreign(store, f"{robustness.uri}/{MANIFEST}", cause(error)) from error
    return found


def encode_predicted(rows: np.ndarray, labels: np.ndarray, predicted: np.ndarray) -> bytes:
    """Row of test and label (N,) of each image, and a column of predicted classes for each of VERSIONS."""
    columns = {"row": rows.astype(np.int32), "label": labels.astype(np.int32)}
    columns |= {each.column: line.astype(np.int32) for each, line in zip(VERSIONS, predicted, strict=True)}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


class Predicted(NamedTuple):
    """What `encode_predicted` was given."""

    rows: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    """(VERSIONS, N)"""


def read_predicted(store: Store, robustness: Manifest) -> Predicted:
    """The table. Raises PermanentError where it is not one."""

    def read(path: Path) -> Predicted:
        names: list[Any] = ["row", "label", *(each.column for each in VERSIONS)]
        schema = pq.read_schema(path)
        if schema.names != names or any(kind != pa.int32() for kind in schema.types):
            raise ValueError(f"the columns {', '.join(schema.names)}")
        table = pq.read_table(path)
        if any(column.null_count for column in table.columns):
            raise ValueError("missing values")
        rows, labels, *classes = (column.to_numpy() for column in table.columns)
        return Predicted(rows, labels, np.stack(classes))

    return read_file(store, robustness, "predictions", read)
