"""The rows of a prepared dataset, as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from lib.data.parquet import Destination, copy_images
from lib.data.splits import Splits, read_splits
from lib.errors import PermanentError
from lib.lineage.manifests import Manifest, foreign, load, local_file
from lib.store import Store


@dataclass(frozen=True)
class Rows:
    """One split: images (N, H, W, C) uint8, labels (N,) int32, and their rows in the dataset's own file."""

    images: np.ndarray
    labels: np.ndarray
    index: np.ndarray


def read_rows(
    store: Store, prepared: Manifest, splits: tuple[str, ...], into: Mapping[str, np.ndarray] = MappingProxyType({})
) -> dict[str, Rows]:
    """The images and labels of `splits`, out of train, validation and test.

    A file is read once, and each pixel copied once: to an array of `into` (split → (N, H, W, C) uint8, perhaps a part
    of a larger one), or to a new one. Raises PermanentError where the dataset or its splits are not as `prepare` left
    them.
    """
    dataset = load(store, prepared.inputs["dataset"])
    chosen: Splits = read_splits(store, prepared)
    found: dict[str, Rows] = {}
    for source, names in (("train", ("train", "validation")), ("test", ("test",))):
        destinations = {}
        for name in (name for name in names if name in splits):
            rows = getattr(chosen, name)
            if rows[-1] >= (count := dataset.facts["rows"][source]):
                received = f"row {rows[-1]:,} of {name}, where {source} has {count:,}"
                raise foreign(store, prepared.files["splits"].path, received)
            shape = len(rows), *prepared.facts["image_shape"]
            destinations[name] = Destination(rows, into[name] if name in into else np.empty(shape, np.uint8))
        if destinations:
            table = copy_images(local_file(store, dataset, source), [*destinations.values()])
            path, classes = dataset.files[source].path, len(prepared.facts["class_names"])
            if sum(table.missing.values()):
                raise PermanentError(f"{path} must have no missing values")
            if (most := int(table.labels.max())) >= classes or table.labels.min() < 0:
                raise foreign(store, path, f"labels from {table.labels.min()} to {most} of {classes} classes")
            found |= {name: Rows(images, table.labels[rows], rows) for name, (rows, images) in destinations.items()}
    return found
