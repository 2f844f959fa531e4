"""Measure how training reads its rows: `python -m tests.benchmarks.reading`.

CIFAR-100 from the store (STORE_URI) to the padded array that training indexes, in processor seconds against one copy
of the same bytes in memory, digest apart; and the memory that it takes against that of the pixels.
"""

import sys
from functools import cache

import numpy as np

from lib.data.own import find_dataset
from lib.data.rows import read_rows
from lib.lineage.manifests import Manifest, load
from lib.models.recipes import RECIPES
from lib.planning.outputs import find_prepared
from lib.settings import read_settings
from lib.store import Store, open_store
from lib.training.batches import PaddedImages
from tests.benchmarks.measuring import (
    Measured,
    given,
    highest_anonymous_bytes,
    in_turn,
    over,
    own_process,
    said,
    show,
    spent,
)

MODULE, TURNS, MEMORY = "tests.benchmarks.reading", 7, "memory"


@cache
def prepared(dataset: str) -> tuple[Store, Manifest]:
    """The store and the prepared data in it."""
    settings = read_settings()
    store = open_store(settings.store_uri, settings.cache_dir)
    found = find_prepared(store, find_dataset(dataset, store), None)
    if found is None:
        sys.exit(f"{dataset} must be in the store: python -m flows.ingest --dataset {dataset}")
    return store, load(store, found)


def padded(dataset: str = "cifar100", recipe: str = "cifar-cnn") -> PaddedImages:
    """The rows that the recipe trains on, as training reads them; without mirror images, which are made from these."""
    store, data = prepared(dataset)
    augmentation = RECIPES[recipe].augmentation.model_copy(update={"flip": False})
    room = PaddedImages((data.facts["rows"]["train"], *data.facts["image_shape"]), augmentation)
    read_rows(store, data, ("train",), {"train": room.images})
    return room


def measure() -> list[Measured]:
    images = np.array(padded().images)  # the digest is worked out here, once a process
    turns = in_turn(TURNS, lambda: spent(padded), lambda: spent(images.copy))
    memory = [float(own_process(MODULE, MEMORY)) for _ in range(3)]
    return [
        Measured(
            "CIFAR-100's training rows, file → padded array, digest apart",
            said([1000 * each for each in turns[0]], "ms", ",.0f"),
            f"one copy in memory: {said([1000 * each for each in turns[1]], 'ms', ',.0f')}",
            over(*turns),
            "≤ 4.5",
            f"copying {images.nbytes / 1e9 / min(turns[1]):.1f} GB a processor second",
        ),
        Measured(
            "the same, highest anonymous memory",
            said([each * images.nbytes / 1e6 for each in memory], "MB", ",.0f"),
            f"the pixels: {images.nbytes / 1e6:,.0f} MB",
            memory,
            "≤ 1.6",
        ),
    ]


def _print_memory() -> None:
    """Growth of anonymous memory while rows are read, at its highest, over the bytes of their pixels."""
    prepared("cifar100")
    with highest_anonymous_bytes() as grown:
        pixels = padded().images.nbytes
    print(grown() / pixels)


if __name__ == "__main__":
    _print_memory() if given(__doc__) == [MEMORY] else show(measure())
