"""A dataset and a recipe of the smallest kind, each one literal, and the files of the dataset's publisher."""

import gzip
import struct
from pathlib import Path

import numpy as np

from lib.data.datasets import DatasetSpec, SplitDigests
from lib.data.parsers import SourceSplit
from lib.data.upstream import UpstreamFile
from lib.models.schema import Phase, Recipe


def toy_images(rows: int, seed: int) -> SourceSplit:
    """Noise, brighter for class 1."""
    random = np.random.default_rng(seed)
    labels = np.arange(rows, dtype=np.uint8) % 2
    dim = random.integers(0, 100, (rows, 6, 6, 1), dtype=np.uint8)
    return SourceSplit(dim + 150 * labels[:, None, None, None], labels)


def write_idx(path: Path, array: np.ndarray, packed_at: int) -> None:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    with path.open("wb") as raw, gzip.GzipFile(path.name, "wb", packed_at % 9 + 1, raw, mtime=packed_at) as out:
        out.write(header + array.tobytes())


SPLITS = {"train": toy_images(60, 0), "test": toy_images(20, 1)}
SPEC = DatasetSpec(
    name="toy",
    title="Dim and bright",
    format="idx",
    files=tuple(
        UpstreamFile(role=f"{split}-{what}", url=f"https://example.org/{split}-{what}.gz", max_bytes=10_000)
        for split in ("train", "test")
        for what in ("images", "labels")
    ),
    image_shape=(6, 6, 1),
    rows={"train": 60, "test": 20},
    class_names=("dim", "bright"),
    digests={split: SplitDigests.model_validate(data.digests()) for split, data in SPLITS.items()},
    validation_rows=10,
    source="made in a test",
    licence="none",
    citation="none",
)
RECIPE = Recipe(
    name="toy-softmax",
    datasets=("toy",),
    description="A linear classifier.",
    network="softmax",
    phases=(Phase(epochs=2, learning_rate=0.05),),
    batch_size=10,
)


def mirror(folder: Path, packed_at: int) -> str:
    folder.mkdir()
    for split, data in SPLITS.items():
        write_idx(folder / f"{split}-images.gz", data.images[..., 0], packed_at)
        write_idx(folder / f"{split}-labels.gz", data.labels, packed_at)
    return folder.as_uri()
