"""The rows of a prepared dataset: as arrays, or left in their file and read a group at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from lib.data.grouped import GroupedRows
from lib.data.parquet import Destination, ImageFile, LabelTable, copy_images
from lib.data.splits import Splits, read_splits
from lib.errors import PermanentError
from lib.lineage.manifests import Manifest, foreign, load, local_file
from lib.store import Store

SOURCES = {"train": ("train", "validation"), "test": ("test",)}
"""File of a dataset → the splits whose rows are in it."""


@dataclass(frozen=True)
class SplitRows:
    """One split: labels (N,) int32, and the row of each image in the dataset's own file."""

    labels: np.ndarray
    index: np.ndarray


@dataclass(frozen=True)
class Rows(SplitRows):
    """One split in memory: its images are (N, H, W, C) uint8."""

    images: np.ndarray


@dataclass(frozen=True)
class StoredRows(SplitRows):
    """One split whose images (N, H, W, C) uint8 stay in their file."""

    images: GroupedRows


def read_rows(
    store: Store, prepared: Manifest, splits: tuple[str, ...], into: Mapping[str, np.ndarray] = MappingProxyType({})
) -> dict[str, Rows]:
    """The images and labels of `splits`, out of train, validation and test.

    A file is read once, and each pixel copied once: to an array of `into` (split → (N, H, W, C) uint8, perhaps a part
    of a larger one), or to a new one. Raises PermanentError where the dataset or its splits are not as `prepare` left
    them.
    """
    dataset = load(store, prepared.inputs["dataset"])
    found: dict[str, Rows] = {}
    for source, chosen in _chosen(store, prepared, dataset, splits).items():
        shapes = {name: (len(rows), *prepared.facts["image_shape"]) for name, rows in chosen.items()}
        destinations = {
            name: Destination(rows, into[name] if name in into else np.empty(shapes[name], np.uint8))
            for name, rows in chosen.items()
        }
        table = copy_images(local_file(store, dataset, source), [*destinations.values()])
        _check_labels(store, prepared, dataset.files[source].path, table)
        found |= {name: Rows(table.labels[rows], rows, images) for name, (rows, images) in destinations.items()}
    return found


def open_rows(store: Store, prepared: Manifest, splits: tuple[str, ...]) -> dict[str, StoredRows]:
    """The same with the images left in their file, whose memory does not grow with their number.

    Raises PermanentError as `read_rows` does, and where images are read that are not as they were written.
    """
    dataset = load(store, prepared.inputs["dataset"])
    found: dict[str, StoredRows] = {}
    for source, chosen in _chosen(store, prepared, dataset, splits).items():
        file = ImageFile(local_file(store, dataset, source))
        _check_labels(store, prepared, dataset.files[source].path, file.table)
        if list(file.image_shape) != prepared.facts["image_shape"]:
            raise foreign(store, dataset.files[source].path, f"images of {file.image_shape}")
        found |= {
            name: StoredRows(file.table.labels[rows], rows, _grouped(file, rows)) for name, rows in chosen.items()
        }
    return found


def _chosen(
    store: Store, prepared: Manifest, dataset: Manifest, splits: tuple[str, ...]
) -> dict[str, dict[str, np.ndarray]]:
    """File of the dataset → split → the rows of that file."""
    rows: Splits = read_splits(store, prepared)
    found = {}
    for source, names in SOURCES.items():
        if chosen := {name: getattr(rows, name) for name in names if name in splits}:
            for name, its_rows in chosen.items():
                if its_rows[-1] >= (count := dataset.facts["rows"][source]):
                    received = f"row {its_rows[-1]:,} of {name}, where {source} has {count:,}"
                    raise foreign(store, prepared.files["splits"].path, received)
            found[source] = chosen
    return found


def _check_labels(store: Store, prepared: Manifest, path: str, table: LabelTable) -> None:
    classes = len(prepared.facts["class_names"])
    if sum(table.missing.values()):
        raise PermanentError(f"{path} must have no missing values")
    if (most := int(table.labels.max())) >= classes or table.labels.min() < 0:
        raise foreign(store, path, f"labels from {table.labels.min()} to {most} of {classes} classes")


def _grouped(file: ImageFile, rows: np.ndarray) -> GroupedRows:
    """Those of `rows` (ascending) of each group of the file."""
    firsts = np.searchsorted(rows, file.starts)

    def read(group: int) -> np.ndarray:
        images: np.ndarray = file.read(group)[rows[firsts[group] : firsts[group + 1]] - file.starts[group]]
        return images

    return GroupedRows(np.diff(firsts).tolist(), file.image_shape, np.uint8, read)
