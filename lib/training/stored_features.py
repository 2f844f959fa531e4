"""Features in the store, as a head is trained on them and predicts from them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lib.data.grouped import GroupedRows
from lib.data.rows import SplitRows
from lib.errors import PermanentError
from lib.lineage.manifests import Manifest, StoredFile
from lib.store import Store

REMOVE = "remove them and run again"


def open_features(store: Store, features: Sequence[Manifest], rows: Mapping[str, SplitRows]) -> dict[str, GroupedRows]:
    """Split of `rows` → features (N, views, D) float16 of its rows: those of each backbone, side by side.

    Raises PermanentError, here or when they are read, where they are not those of these rows, or not of one kind.
    """
    found = {split: _side_by_side(store, features, split, part.index) for split, part in rows.items()}
    if len({values.row_shape for values in found.values()}) > 1:
        raise _several_kinds("all splits")
    return found


def _side_by_side(store: Store, features: Sequence[Manifest], split: str, index: np.ndarray) -> GroupedRows:
    parts = [_parts(each, split, len(index)) for each in features]
    bounds = [part[:2] for part in parts[0]]
    if any([part[:2] for part in others] != bounds for others in parts):
        raise PermanentError(f"the features of {split} must be in the same parts for each backbone; {REMOVE}")

    def read(number: int) -> np.ndarray:
        first, last = bounds[number]
        read = [
            read_part(store, each.files[its[number][2]], index[first:last])
            for each, its in zip(features, parts, strict=True)
        ]
        return read[0] if len(read) == 1 else np.concatenate(read, axis=-1)

    row_shape = read(0).shape[1:]

    def read_alike(number: int) -> np.ndarray:
        if (part := read(number)).shape[1:] != row_shape:
            raise _several_kinds(split)
        return part

    return GroupedRows([last - first for first, last in bounds], row_shape, np.float16, read_alike)


def _several_kinds(where: str) -> PermanentError:
    return PermanentError(f"the features of {where} must be of one kind; received several; {REMOVE}")


def _parts(features: Manifest, split: str, rows: int) -> list[tuple[int, int, str]]:
    parts, end = parts_of(features.files, split), 0
    for first, last, _ in parts:
        if first != end:
            break
        end = last
    if end != rows:
        raise PermanentError(
            f"the features of {split} must be those of its {rows:,} rows; received those of its first {end:,}; {REMOVE}"
        )
    return parts


def parts_of(names: Iterable[str], split: str) -> list[tuple[int, int, str]]:
    """First row, the one after the last, and name of each part of `split`, in the order of its rows."""
    parts = [found for name in names if (found := re.fullmatch(rf"{split}-([0-9]+)-([0-9]+)", name))]
    # As numbers: as text, the rows from 1,000,000 on would come before row 2,000.
    return sorted((int(part[1]), int(part[2]), part[0]) for part in parts)


def predicting_features(features: np.ndarray) -> np.ndarray:
    """Features (N, views, D) → (N, D) float32, as the whole model computes them: those of the views, averaged."""
    averaged: np.ndarray = features.mean(axis=1, dtype=np.float32)
    return averaged


def read_part(store: Store, part: StoredFile, index: np.ndarray) -> np.ndarray:
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
