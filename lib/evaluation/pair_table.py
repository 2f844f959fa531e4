"""Near duplicates as they are stored: a Parquet table of pairs."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lib.data.rows import SplitRows
from lib.errors import PermanentError
from lib.evaluation.near_duplicates import Pair
from lib.lineage.manifests import Manifest, load, read_file
from lib.lineage.steps import SPLITS
from lib.store import Store

PLACES = 4
"""Of distances and correlations: what of them is the same on other machines."""
COLUMNS = ("split", "row", "other_split", "other_row", "distance", "correlation")
"""Of a Pair. Beside them stand `index` and `other_index`, the rows in the dataset's own files."""


def rounded(pairs: Sequence[Pair]) -> list[Pair]:
    """As they are stored."""
    return [
        pair._replace(distance=round(pair.distance, PLACES), similarity=round(pair.similarity, PLACES))
        for pair in pairs
    ]


def encode_pairs(pairs: Sequence[Pair], rows: Mapping[str, SplitRows]) -> bytes:
    """The pairs in their order: split, row of the split and row of the dataset's file of both; how alike they are."""
    buffer = io.BytesIO()
    pq.write_table(_table(pairs, rows), buffer)
    return buffer.getvalue()


def _table(pairs: Sequence[Pair], rows: Mapping[str, SplitRows]) -> pa.Table:
    names, columns = [*rows], [*zip(*pairs, strict=True)] or [()] * len(COLUMNS)
    table: dict[str, pa.Array] = {}
    for prefix, (splits, places) in (("", columns[:2]), ("other_", columns[2:4])):
        indices = [rows[split].index[row] for split, row in zip(splits, places, strict=True)]
        numbers = pa.array([names.index(split) for split in splits], pa.int8())
        table[f"{prefix}split"] = pa.DictionaryArray.from_arrays(numbers, pa.array(names)).cast(pa.string())
        table[f"{prefix}row"] = pa.array(places, pa.int32())
        table[f"{prefix}index"] = pa.array(np.array(indices, np.int32))
    for name, values in zip(COLUMNS[4:], columns[4:], strict=True):
        table[name] = pa.array(values, pa.float64())
    return pa.table(table)


def read_pairs(store: Store, duplicates: Manifest) -> list[Pair]:
    """The pairs of an output of the step `duplicates`. Raises PermanentError where they are not pairs of its rows."""
    rows: Mapping[str, int] = load(store, duplicates.inputs["prepared"]).facts["rows"]

    def read(path: Path) -> list[Pair]:
        table = pq.read_table(path, columns=[*COLUMNS])
        pairs = [Pair(*values) for values in zip(*(table[name].to_pylist() for name in COLUMNS), strict=True)]
        for pair in pairs:
            for split, row in (pair[:2], pair[2:4]):
                if not (isinstance(row, int) and 0 <= row < rows[split]):
                    raise ValueError(f"row {row} of {split}")
            if not all(isinstance(value, float) and np.isfinite(value) for value in pair[4:]):
                raise ValueError(f"a pair that is {pair.distance} apart, with a correlation of {pair.similarity}")
            if (SPLITS.index(pair.split), pair.row) >= (SPLITS.index(pair.other_split), pair.other_row):
                raise ValueError(f"row {pair.row} of {pair.split} before row {pair.other_row} of {pair.other_split}")
        return pairs

    return read_file(store, duplicates, "pairs", read)


def check_indices(address: str, file: Path, pairs: Sequence[Pair], rows: Mapping[str, SplitRows]) -> None:
    """Raise PermanentError where the table names other rows of the dataset's files than those of its pairs."""
    if not pq.read_table(file).equals(_table(pairs, rows)):
        raise PermanentError(f"{address}: the rows that its pairs name must be those of the data beside it")
