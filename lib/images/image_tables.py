"""Images in Parquet: as Hugging Face has them, as bytes of any other tool, or as this project's own pixels.

A table is read a few rows at a time, and never mapped: what another process cuts off would end this one.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lib.errors import PermanentError, cause, counted, shortened
from lib.files import open_regular
from lib.images.source_files import Refused, Source, check_fits, place_of
from lib.images.source_images import (
    LARGEST_IMAGE_BYTES,
    Columns,
    Layout,
    SourceImage,
    Split,
    all_refused,
    are_splits,
    of_splits,
    required,
    split_of,
    split_of_path,
    text_of,
)
from lib.images.table_columns import Table, class_names_of, describe_schema, is_label, named, no_split, plain

BATCH_BYTES = 8 << 20
"""Of images, at once."""
MOST_BATCH_ROWS = 1_000


def describe(source: Source, path: str, columns: Columns, labelled: bool = True) -> Table:
    """What the file at `path` holds. Raises PermanentError where it is no Parquet file with images and labels."""
    with _opened(source, path) as file:
        return describe_schema(file.schema_arrow, columns, place_of(path), labelled)


class Part(NamedTuple):
    """One file of a source, in which all rows have the same split, unless a column says it."""

    path: str
    split: Split | None


def table_layout(source: Source, paths: Sequence[str], table: Table, columns: Columns) -> Layout:
    """The layout of Parquet files with images, of which the first holds `table`.

    Raises PermanentError where another file holds something else, or only some files say their split.
    """
    parts = [Part(path, split_of_path(path)) for path in paths]
    by_place = any(part.split for part in parts)
    if by_place and not all(part.split for part in parts):
        without = next(part.path for part in parts if not part.split)
        raise PermanentError(
            f"either all Parquet files or none must have train, validation or test in their names; {place_of(without)} "
            "has none; rename it, or name a folder without it"
        )
    counts: Counter[Split | None] = Counter()
    for part in parts:
        if (found := describe(source, part.path, columns)) != table:
            raise _differs(place_of(paths[0]), place_of(part.path), table, found)
        counts += _count(source, part, None if by_place else table.split)
    if not counts.total():
        raise all_refused(source.uri, [])
    given = are_splits(counts, source.uri)

    def images(refused: list[Refused]) -> Iterator[SourceImage]:
        for part in parts:
            yield from table_images(source, part, table, (by_place, given), refused)

    return Layout(_description(paths, table, counts), given, source.refused, images, table.class_names or ())


def _description(paths: Sequence[str], table: Table, counts: Counter[Split | None]) -> str:
    sizes = " × ".join(map(str, table.shape or ()))
    classes = f", {counted(len(table.class_names), 'class')}" if table.class_names else ""
    return (
        f"Parquet: {counted(len(paths), 'file')}, {counted(counts.total(), 'row')}{classes}; columns "
        f"{shortened(f'{table.image} and {table.label}')}{f'; pixels of {sizes}' if sizes else ''}{of_splits(counts)}"
    )


def text_rows(source: Source, path: str) -> tuple[list[str], Iterator[tuple[str, dict[str | None, Any]]]]:
    """The columns of a Parquet file that are text or numbers, and its rows, as of a list of paths and labels."""
    with _opened(source, path) as file:
        schema = file.schema_arrow
        names = [name for name in schema.names if is_label(plain(schema.field(name).type))]

    def rows() -> Iterator[tuple[str, dict[str | None, Any]]]:
        classes = {name: class_names_of(schema, name) for name in names}
        with _opened(source, path) as file:
            number = 0
            for batch in file.iter_batches(MOST_BATCH_ROWS, columns=names, use_threads=False):
                for row in batch.to_pylist():
                    yield f"row {number}", {name: _named_or_reason(value, classes[name]) for name, value in row.items()}
                    number += 1

    return names, rows()


def names_of_classes(source: Source, path: str, label: str) -> tuple[str, ...]:
    """Those of the column `label` of a Parquet file, in the order of their numbers; empty where it has none."""
    with _opened(source, path) as file:
        return class_names_of(file.schema_arrow, label) or ()


def _named_or_reason(value: Any, class_names: tuple[str, ...] | None) -> Any:
    try:
        return named(value, class_names)
    except ValueError as error:
        return error


@contextmanager
def _opened(source: Source, path: str) -> Iterator[pq.ParquetFile]:
    try:
        # By a stream of Python's: pyarrow takes no names that are not UTF-8.
        with open_regular(source.local(path)) as stream:
            with pq.ParquetFile(stream, buffer_size=1 << 20, pre_buffer=False) as file:
                yield file
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise PermanentError(
            f"{place_of(path)} must be a whole Parquet file; received {cause(error)}; write it anew"
        ) from error


def _count(source: Source, part: Part, split: str | None) -> Counter[Split | None]:
    """Rows by split: those of the file's name, or of the column `split`."""
    with _opened(source, part.path) as file:
        if split is None:
            return Counter({part.split: file.metadata.num_rows})
        counts: Counter[Split | None] = Counter()
        for batch in file.iter_batches(1 << 16, columns=[split], use_threads=False):
            for text, count in Counter(batch[split].to_pylist()).items():
                counts[_split_of_value(text, place_of(part.path))] += count
    return counts


def _split_of_value(value: object, place: str) -> Split | None:
    if value is None:
        return None
    if not isinstance(value, str) or (split := split_of(value)) is None:
        raise no_split(place, repr(value))
    return split


def table_images(
    source: Source, part: Part, table: Table, splits: tuple[bool, bool], refused: list[Refused]
) -> Iterator[SourceImage]:
    """The images of one file; what is refused on the way is added to `refused`.

    `splits`: whether files' names say them, and whether there are any.
    """
    by_place, given = splits
    read = [each for each in (table.image, table.label, table.group, table.split) if each]
    row = -1
    with _opened(source, part.path) as file:
        for batch in file.iter_batches(
            _batch_rows(file, table.image), columns=[*dict.fromkeys(read)], use_threads=False
        ):
            data = _data(batch[table.image])
            others = [name for name in read if name != table.image]
            rows = batch.select(others).to_pylist() if others else [{}] * batch.num_rows
            for number, values in enumerate(rows):
                row += 1
                place = f"{place_of(part.path)}:row {row}"
                split = part.split if by_place or not table.split else _split_of_value(values[table.split], place)
                try:
                    if given and split is None:
                        raise ValueError("no split")
                    image = _image_of_row(data[number].as_py(), values, table, place)
                except ValueError as error:
                    refused.append(Refused(place, str(error)))
                    continue
                yield image._replace(split=split if given else None)
        if row + 1 != file.metadata.num_rows:
            raise ValueError(f"{row + 1:,} of {file.metadata.num_rows:,} rows")


def _image_of_row(data: bytes | None, values: dict[str, Any], table: Table, place: str) -> SourceImage:
    """Raises ValueError, whose text is the reason that the row is refused."""
    if not data:
        raise ValueError("no bytes of an image")
    label = required(text_of(named(values[table.label], table.class_names)), "label") if table.label else ""
    group = text_of(values[table.group]) if table.group else None
    pixels = np.frombuffer(data, np.uint8).reshape(table.shape) if table.shape else None
    return SourceImage(place, label, None, group, partial(_whole, data, place), pixels)


def _whole(data: bytes, place: str) -> bytes:
    check_fits(place, len(data), LARGEST_IMAGE_BYTES)
    return data


def _data(column: pa.Array) -> pa.Array:
    """The bytes of images, null where there are none."""
    column = getattr(column, "storage", column)
    if not pa.types.is_struct(column.type):
        return column
    return column.flatten()[column.type.get_field_index("bytes")]  # a null row is null there too


def _batch_rows(file: pq.ParquetFile, image: str) -> int:
    largest = 1.0
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        chunks = (group.column(each) for each in range(group.num_columns))
        size = sum(each.total_uncompressed_size for each in chunks if each.path_in_schema.split(".")[0] == image)
        largest = max(largest, size / max(1, group.num_rows))
    return int(min(MOST_BATCH_ROWS, max(1, BATCH_BYTES // largest)))


def _differs(first: str, other: str, table: Table, found: Table) -> PermanentError:
    what = next(name for name in Table._fields if getattr(table, name) != getattr(found, name))
    one, two = (shortened(str(getattr(each, what))) for each in (table, found))
    return PermanentError(
        f"all Parquet files of a source must have the same columns; {other} has {two} for {what.replace('_', ' ')}, "
        f"{first} has {one}; name a folder with files of one kind"
    )
