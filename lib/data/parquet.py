"""Images in Parquet: one row an image, raw pixels as fixed-size binary, what the dataset is in the schema's metadata.

Fixed-size binary reads 80 times faster than a list of numbers, and DuckDB, pandas and `datasets` open it.
"""

import hashlib
import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lib.data.datasets import DatasetSpec
from lib.data.parsers import Split
from lib.errors import PermanentError, one_line

ROW_GROUP_ROWS, ROW_GROUP_BYTES = 5_000, 16_000_000
"""At most. A training that streams keeps some groups in memory."""
BATCH_ROWS = 250
"""Of 32 px in colour, so many fit into a core's own cache."""
LARGEST_SIDE = 65_536
COLUMNS = ("image", "label", "coarse_label", "index")


@dataclass(frozen=True)
class LabelTable:
    """A split as read back, without its images."""

    labels: np.ndarray  # (N,) int32; -1 where one is missing
    coarse_labels: np.ndarray | None  # (N,) int32, likewise
    missing: dict[str, int]
    """Nulls by column."""


class Destination(NamedTuple):
    """Where images are to be read to: row `rows[k]` of a file to `images[k]`."""

    rows: np.ndarray  # ascending
    images: np.ndarray  # (n, H, W, C) uint8, perhaps a part of a larger array


def write_images(path: Path, spec: DatasetSpec, split: Split) -> str:
    """Write `split` with columns image, label, coarse_label (where there is one) and index, a group at a time.

    Returns the sha256 over its pixels: that of `SplitDigests.images`.
    """
    width, numbers = prod(spec.image_shape), {"label": split.labels}
    if split.coarse_labels is not None:
        numbers["coarse_label"] = split.coarse_labels
    numbers["index"] = np.arange(len(split.labels), dtype=np.int32)
    types = {name: label_type(values.max()) for name, values in numbers.items()} | {"index": pa.int32()}
    schema = pa.schema({"image": pa.binary(width), **types}, _description(spec))
    group = min(ROW_GROUP_ROWS, max(1, ROW_GROUP_BYTES // width))
    digest, start = hashlib.sha256(), 0
    # Pixels hardly compress, and a dictionary of them would only cost memory.
    with (
        pq.ParquetWriter(path, schema, compression="none", use_dictionary=list(numbers)) as writer,
        closing(split.blocks(group)) as blocks,
    ):
        for block in blocks:
            pixels, rows = np.ascontiguousarray(block), slice(start, start + len(block))
            digest.update(pixels.data)
            image = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(pixels), [None, pa.py_buffer(pixels)])
            columns = [pa.array(values[rows], types[name]) for name, values in numbers.items()]
            writer.write_table(pa.table([image, *columns], schema=schema), group)
            start = rows.stop
    return digest.hexdigest()


def _description(spec: DatasetSpec) -> dict[str, str]:
    return {
        "dataset": spec.name,
        "image_shape": json.dumps(spec.image_shape),
        "class_names": json.dumps(spec.class_names),
        "superclass_names": json.dumps(spec.superclass_names),
        "licence": spec.licence,
        "citation": spec.citation,
        "source": spec.source,
    }


def label_type(largest: int) -> pa.DataType:
    """What labels up to `largest` are stored as: int16, as all of up to 32,768 classes, else int32."""
    return pa.int16() if largest < 1 << 15 else pa.int32()


def copy_images(path: Path, destinations: Sequence[Destination]) -> LabelTable:
    """Read a file of `write_images` once, and copy each image to where it is asked for, if anywhere.

    Raises PermanentError where it is no such file, has images of another shape, or has not all rows asked for.
    """
    with _opened(path) as file:
        for rows, images in destinations:
            if not (rows[0] >= 0 and (np.diff(rows) > 0).all() and rows[-1] < file.metadata.num_rows):
                raise PermanentError(
                    f"{path.name} must have rows {rows.min():,} to {rows.max():,}, each asked for once and in order; "
                    f"it has {file.metadata.num_rows:,}"
                )
            if images.shape[1:] != _shape(file):
                raise ValueError(f"images of {_shape(file)}")
        return _read(file, destinations)


class ImageFile:
    """A file of `write_images` whose images stay where they are, and are read a group of rows at a time.

    It stays open. Memory does not grow with what is read: it is not mapped. Raises PermanentError where it is no such
    file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _as_it_was_written(path):
            self._file = pq.ParquetFile(path)
            _check_size(self._file, path)
            groups = [self._file.metadata.row_group(each) for each in range(self._file.metadata.num_row_groups)]
            self.image_shape, labels = _shape(self._file), _label_table(self._file)
            place = self._file.schema_arrow.names.index("image")
            nulls = sum(_nulls(group.column(place).statistics) for group in groups)
            self.table = replace(labels, missing={"image": nulls, **labels.missing})
            self.starts = np.cumsum([0, *(group.num_rows for group in groups)])

    def read(self, group: int) -> np.ndarray:
        """Its images, (n, H, W, C) uint8: rows `starts[group]` to `starts[group + 1]`."""
        with _as_it_was_written(self._path):
            column = self._file.read_row_group(group, ["image"], use_threads=False)["image"].combine_chunks()
            if column.null_count:
                raise ValueError(f"{column.null_count:,} images that are missing")
            return _pixels(column, self.image_shape)

    def images(self) -> Generator[np.ndarray, None, None]:
        """Each of them (H, W, C) uint8, from the first on."""
        for group in range(len(self.starts) - 1):
            yield from self.read(group)


def _nulls(statistics: pq.Statistics | None) -> int:
    """Where a file does not say, they are refused as they are read."""
    return statistics.null_count if statistics and statistics.has_null_count else 0


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    with _as_it_was_written(path), pq.ParquetFile(path, memory_map=True) as file:
        _check_size(file, path)
        yield file


@contextmanager
def _as_it_was_written(path: Path) -> Iterator[None]:
    if not path.is_file():  # opening a pipe would wait for ever
        raise _no_table(path, "no file")
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise _no_table(path, one_line(error)[:300]) from error


def _no_table(path: Path, received: str) -> PermanentError:
    return PermanentError(
        f"{path.name} must be a whole table of images; received {received}; "
        "it was changed after it was written: remove it and its manifest, and run again"
    )


def _check_size(file: pq.ParquetFile, path: Path) -> None:
    rows, width = file.metadata.num_rows, prod(_shape(file))
    if not 0 < rows * width <= path.stat().st_size:  # pixels are not compressed
        raise ValueError(f"{rows:,} rows of {width:,} bytes in {path.stat().st_size:,}")
    if file.metadata.num_row_groups > rows:
        raise ValueError(f"{rows:,} rows in {file.metadata.num_row_groups:,} groups")


def _label_table(file: pq.ParquetFile) -> LabelTable:
    names = file.schema_arrow.names
    table = file.read([name for name in names if name != "image"], use_threads=False)
    if not np.array_equal(table["index"].to_numpy(), np.arange(file.metadata.num_rows, dtype=np.int32)):
        raise ValueError("an index that does not number its rows")
    missing = {name: table[name].null_count for name in names if name != "image"}
    coarse = _labels(table["coarse_label"]) if "coarse_label" in names else None
    return LabelTable(_labels(table["label"]), coarse, missing)


def _pixels(column: pa.FixedSizeBinaryArray, shape: tuple[int, int, int]) -> np.ndarray:
    """(n, H, W, C) uint8: a view."""
    width = prod(shape)
    raw = np.frombuffer(column.buffers()[1], np.uint8, len(column) * width, column.offset * width)
    return raw.reshape(-1, *shape)


def _read(file: pq.ParquetFile, destinations: Sequence[Destination]) -> LabelTable:
    shape, rows, labels = _shape(file), file.metadata.num_rows, _label_table(file)
    start, missing_images = 0, 0
    for batch in file.iter_batches(BATCH_ROWS, columns=["image"], use_threads=False):
        column, end = batch["image"], start + len(batch)
        missing_images += column.null_count
        pixels = _pixels(column, shape)
        for wanted, images in destinations:
            first, last = np.searchsorted(wanted, (start, end))
            _lines(images)[first:last] = _lines(pixels)[wanted[first:last] - start]
        start = end
    if start != rows:
        raise ValueError(f"{start:,} images in {rows:,} rows")
    return replace(labels, missing={"image": missing_images, **labels.missing})


def _lines(images: np.ndarray) -> np.ndarray:
    """`images` (N, H, W, C) as (N, H, 1) lines of pixels, which are moved faster than bytes: a view, never a copy."""
    rows, height, width, channels = images.shape
    lines: np.ndarray = images.reshape(rows, height, width * channels, copy=False).view(f"V{width * channels}")
    return lines


def _shape(file: pq.ParquetFile) -> tuple[int, int, int]:
    """(H, W, C) as the schema says. Raises ValueError where that is no such schema."""
    schema = file.schema_arrow
    height, width, channels = json.loads((schema.metadata or {})[b"image_shape"])
    for side in (height, width, channels):
        if not (type(side) is int and 0 < side <= LARGEST_SIDE):
            raise ValueError(f"image_shape {[height, width, channels]}")
    kinds = {name: schema.field(name).type for name in schema.names}
    integers = {"coarse_label": pa.int16(), **kinds}
    right = all(pa.types.is_integer(integers[name]) for name in COLUMNS[1:])
    if not right or kinds["image"] != pa.binary(height * width * channels) or len(integers) != len(COLUMNS):
        raise ValueError(f"columns {', '.join(f'{name} {kind}' for name, kind in kinds.items())}")
    return height, width, channels


def _labels(column: pa.ChunkedArray) -> np.ndarray:
    labels: np.ndarray = column.cast(pa.int32()).fill_null(-1).to_numpy()
    return labels


def read_description(path: Path) -> dict[str, str]:
    """What `write_images` says of the dataset, without the pixels."""
    metadata = pq.read_schema(path).metadata
    return {name.decode(): value.decode() for name, value in metadata.items() if name != b"ARROW:schema"}
