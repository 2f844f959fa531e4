"""A dataset with planted faults: a test image that lies in train too, shifted and brightened, and swapped labels."""

from pathlib import Path

import numpy as np

from lib.data.datasets import DATASETS, DatasetSpec, SplitDigests
from lib.data.ingest import ingest
from lib.data.parsers import SourceSplit
from lib.data.prepare import prepare
from lib.data.upstream import UpstreamFile
from lib.lineage.manifests import Ref
from lib.store import Store
from tests.toy import write_idx

SIDE, CLASSES, ROWS = 24, 4, {"train": 640, "test": 400}
LEAKED_FROM, LEAKED_TO = 17, 5
"""Row of the training file, and of test."""


def pictures(rows: int, seed: int) -> np.ndarray:
    """(rows, SIDE, SIDE, 1) uint8: patches of random greys with soft edges, each picture another."""
    coarse = np.random.default_rng(seed).integers(0, 256, (rows, SIDE // 4 + 1, SIDE // 4 + 1, 1))
    fine = np.kron(coarse, np.ones((1, 4, 4, 1)))
    soft = np.mean([fine[:, y : y + SIDE, x : x + SIDE] for y in range(4) for x in range(4)], axis=0)
    return soft.astype(np.uint8)


def true_labels(split: str) -> np.ndarray:
    """Of the files, before any is swapped."""
    return np.arange(ROWS[split]) % CLASSES


def swapped_labels(split: str) -> np.ndarray:
    """The rows, 5 % of them, whose label is made another one."""
    return np.random.default_rng(ROWS[split]).choice(ROWS[split], ROWS[split] // 20, replace=False)


def files(leaked: bool = True, swapped: bool = True) -> dict[str, SourceSplit]:
    """What the publisher has."""
    images = {split: pictures(rows, rows) for split, rows in ROWS.items()}
    if leaked:
        images["test"][LEAKED_TO] = np.roll(images["train"][LEAKED_FROM], (1, -1), (0, 1)) * 0.8 + 40
    labels = {split: true_labels(split) for split in ROWS}
    for split in ROWS if swapped else ():
        rows = swapped_labels(split)
        labels[split][rows] = (labels[split][rows] + 1 + rows % (CLASSES - 1)) % CLASSES
    return {split: SourceSplit(images[split], labels[split].astype(np.uint8)) for split in ROWS}


def spec_of(data: dict[str, SourceSplit]) -> DatasetSpec:
    """400 of 640 training rows are for validation."""
    return DatasetSpec(
        name="planted",
        title="Planted faults",
        format="idx",
        files=tuple(
            UpstreamFile(role=f"{split}-{what}", url=f"https://example.org/{split}-{what}.gz", max_bytes=1_000_000)
            for split in ROWS
            for what in ("images", "labels")
        ),
        image_shape=(SIDE, SIDE, 1),
        rows=ROWS,
        class_names=("north", "east", "south", "west"),
        digests={split: SplitDigests.model_validate(each.digests()) for split, each in data.items()},
        validation_rows=400,
        max_imbalance=2.0,
        source="made in a test",
        licence="none",
        citation="none",
    )


def prepared_with_faults(store: Store, folder: Path, leaked: bool = True, swapped: bool = True) -> Ref:
    """The same ingested from `folder`, and prepared; it is among the datasets from now on."""
    data = files(leaked, swapped)
    folder.mkdir()
    for split, each in data.items():
        write_idx(folder / f"{split}-images.gz", each.images[..., 0], 0)
        write_idx(folder / f"{split}-labels.gz", each.labels, 0)
    DATASETS["planted"] = spec = spec_of(data)
    return prepare(spec, store, ingest(spec, store, folder.as_uri(), lambda *_: None), None)
