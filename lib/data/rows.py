"""The rows of a prepared dataset, as arrays."""

from dataclasses import dataclass

import numpy as np

from lib.data.parquet import read_images
from lib.data.splits import Splits, read_splits
from lib.errors import PermanentError
from lib.lineage.manifests import Manifest, load, local_file
from lib.store import Store


@dataclass(frozen=True)
class Rows:
    """One split: images (N, H, W, C) uint8, labels (N,) int32, and their rows in the dataset's own file."""

    images: np.ndarray
    labels: np.ndarray
    index: np.ndarray


def read_rows(store: Store, prepared: Manifest, splits: tuple[str, ...]) -> dict[str, Rows]:
    """The images and labels of `splits`, out of train, validation and test.

    Raises PermanentError where the dataset or its splits are not as `prepare` left them.
    """
    dataset = load(store, prepared.inputs["dataset"])
    chosen: Splits = read_splits(store, prepared)
    found = {}
    for source, names in (("train", ("train", "validation")), ("test", ("test",))):
        if wanted := [name for name in names if name in splits]:
            table = read_images(local_file(store, dataset, source))
            for name in wanted:
                index = getattr(chosen, name)
                if sum(table.missing.values()) or not 0 <= index.min() <= index.max() < len(table.labels):
                    raise PermanentError(f"{dataset.files[source].path} must have each row of the {name} split")
                found[name] = Rows(table.images[index], table.labels[index], index)
    return found
