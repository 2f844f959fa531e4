"""A person's images in Parquet files of at most SHARD_BYTES, each image as it was encoded.

Columns: image (bytes and path, as Hugging Face's `datasets` has it), label, split, group, and what decoding found.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SHARD = "shard-"
SHARD_BYTES = 256_000_000
GROUP_BYTES = 8_000_000
MOST_ROWS_OF_A_GROUP = 10_000


class Found(NamedTuple):
    """What is known of an image."""

    sha256: str
    """Of its file."""
    pixels: str
    """Digest of its pixels, at their own size."""
    channels: int
    """1 where it is grey, else 3."""
    conversions: tuple[str, ...]


class Row(NamedTuple):
    """An image of a shard."""

    image: bytes
    place: str
    label: int
    split: str
    group: str | None
    found: Found


SCHEMA = pa.schema(
    {
        "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        "label": pa.int64(),  # `datasets` takes numbers of no other width for a ClassLabel
        "split": pa.string(),
        "group": pa.string(),
        "sha256": pa.string(),
        "pixels": pa.string(),
        "channels": pa.int8(),
        "conversions": pa.list_(pa.string()),
    }
)
COLUMNS_FOUND = ("sha256", "pixels", "channels", "conversions")
UNREADABLE = pa.schema({"place": pa.string(), "reason": pa.string()})


def write_shards(folder: Path, rows: Iterable[Row], class_names: list[str]) -> list[Path]:
    """Write `rows` in their order to files in `folder`; one group of rows is in memory at a time."""
    schema = SCHEMA.with_metadata({"huggingface": json.dumps({"info": {"features": _features(class_names)}})})
    files: list[Path] = []
    writer: pq.ParquetWriter | None = None
    written = 0
    try:
        for group, size in _groups(rows):
            if writer is None or written + size > SHARD_BYTES:
                if writer:
                    writer.close()
                files.append(folder / f"{SHARD}{len(files):05d}.parquet")
                # Encoded images do not compress, and each occurs once.
                writer = pq.ParquetWriter(files[-1], schema, compression="none", use_dictionary=["split"])
                written = 0
            writer.write_table(_table(group, schema))
            written += size
    finally:
        if writer:
            writer.close()
    return files


def read_shards(files: Iterable[Path], split: str | None = None) -> Iterator[Row]:
    """The rows of `files`, or those of one split, in their order. One group of rows is in memory at a time."""
    for path in files:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for number in range(file.num_row_groups):
                rows = file.read_row_group(number, use_threads=False)
                for each in (rows.filter(pc.field("split") == split) if split else rows).to_pylist():
                    yield Row(
                        image=each["image"]["bytes"],
                        place=each["image"]["path"],
                        label=each["label"],
                        split=each["split"],
                        group=each["group"],
                        found=_found(each),
                    )


def read_labels(files: Iterable[Path]) -> dict[str, np.ndarray]:
    """Split → labels (n,) int32 of its rows, in their order: without the images. Where one is missing it is -1."""
    rows = pa.concat_tables(pq.read_table(path, columns=["label", "split"]) for path in files)
    labels = {
        split: rows.filter(pc.field("split") == split)["label"].cast(pa.int32()).fill_null(-1)
        for split in rows["split"].unique().to_pylist()
    }
    return {split: of_split.to_numpy() for split, of_split in labels.items()}


def read_found(files: Iterable[Path]) -> Iterator[Found]:
    """What is known of each image, without the images."""
    for path in files:
        for each in _records(path, list(COLUMNS_FOUND)):
            yield _found(each)


def write_unreadable(folder: Path, unreadable: Iterable[tuple[str, str]]) -> Path:
    """A file in `folder` with columns place and reason, of each file that is no image that can be read."""
    path = folder / "unreadable.parquet"
    rows = iter(unreadable)
    with pq.ParquetWriter(path, UNREADABLE) as writer:
        while some := list(islice(rows, MOST_ROWS_OF_A_GROUP)):
            writer.write_table(pa.table(list(zip(*some, strict=True)), schema=UNREADABLE))
    return path


def read_unreadable(path: Path) -> Iterator[tuple[str, str]]:
    """What `write_unreadable` wrote: place and reason."""
    return ((each["place"], each["reason"]) for each in _records(path, UNREADABLE.names))


def _records(path: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches(MOST_ROWS_OF_A_GROUP, columns=columns, use_threads=False):
            yield from batch.to_pylist()


def _groups(rows: Iterable[Row]) -> Iterator[tuple[list[Row], int]]:
    group: list[Row] = []
    size = 0
    for row in rows:
        group.append(row)
        size += len(row.image)
        if size >= GROUP_BYTES or len(group) == MOST_ROWS_OF_A_GROUP:
            yield group, size
            group, size = [], 0
    if group:
        yield group, size


def _table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    images, places, labels, splits, groups, found = zip(*rows, strict=True)
    encoded = (
        pa.array(values, field.type) for values, field in zip((images, places), schema.field("image").type, strict=True)
    )
    image = pa.StructArray.from_arrays([*encoded], fields=[*schema.field("image").type])
    return pa.table([image, labels, splits, groups, *zip(*found, strict=True)], schema=schema)


def _found(record: dict[str, Any]) -> Found:
    return Found(record["sha256"], record["pixels"], record["channels"], tuple(record["conversions"]))


def _features(class_names: list[str]) -> dict[str, Any]:
    """As `datasets` describes columns."""
    kinds = {"string": ("split", "group", "sha256", "pixels"), "int8": ("channels",)}
    return {
        "image": {"_type": "Image"},
        "label": {"names": class_names, "_type": "ClassLabel"},
        **{name: {"dtype": kind, "_type": "Value"} for kind, names in kinds.items() for name in names},
        "conversions": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"},
    }
