"""What a person's own images cost, by their number: `python -m tests.benchmarks.own_images_at_scale [ROWS …]`.

A made Parquet file of pixels, 32 × 32 in colour, goes through the steps of STEPS, each in a process of its own. Without
ROWS: 50,000 and 250,000. A million take 16 GB below TMPDIR, and three quarters of an hour on 2 cores. The training
streams, on one epoch of a softmax in batches of 128.
A child's peak is never less than what the step had in memory as it started its last child: Linux counts that too.
"""

import json
import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from lib.data.ingest import ingest
from lib.data.own import own_spec, spec_of
from lib.data.prepare import prepare
from lib.images.collect import collect, look
from lib.images.own_source import OwnSource
from lib.lineage.manifests import Ref, load
from lib.lineage.verify import verify
from lib.models.schema import Augmentation, Phase, Recipe
from lib.settings import Settings
from lib.store import LocalStore
from lib.temporary import temporary_folder
from tests.benchmarks.measuring import given, own_process, processor_seconds

MODULE = "tests.benchmarks.own_images_at_scale"
SIZES = (50_000, 250_000)
PX, CLASSES, ROWS_OF_A_GROUP = 32, 10, 10_000
RECIPE = Recipe(
    name="streamed",
    description="",
    network="softmax",
    phases=(Phase(epochs=1, learning_rate=1e-3),),
    augmentation=Augmentation(shift_px=2, flip=True),
    stream_above_mb=0,
)
COLUMNS = (
    "step",
    "rows",
    "processor seconds",
    "of which children",
    "s per 1,000 rows",
    "elapsed s",
    "peak MB",
    "child",
)


def write_pixels(path: Path, rows: int) -> None:
    """A Parquet file of `rows` images of pixels: smooth, with some noise, as photos are. The same each time."""
    kind = pa.binary(PX * PX * 3)
    names = [f"class {number}" for number in range(CLASSES)]
    metadata = {"image_shape": json.dumps([PX, PX, 3]), "class_names": json.dumps(names)}
    schema = pa.schema({"image": kind, "label": pa.int16()}, metadata=metadata)
    random = np.random.default_rng(0)
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, rows, ROWS_OF_A_GROUP):
            count = min(ROWS_OF_A_GROUP, rows - start)
            coarse = random.integers(16, 240, (count, 4, 4, 3), np.uint8)
            pixels = coarse.repeat(PX // 4, axis=1).repeat(PX // 4, axis=2)
            pixels += random.integers(0, 16, pixels.shape, np.uint8)
            images = pa.Array.from_buffers(kind, count, [None, pa.py_buffer(pixels)])
            labels = pa.array(random.integers(0, CLASSES, count), pa.int16())
            writer.write_batch(pa.record_batch([images, labels], schema=schema))


def write(folder: Path, rows: int) -> None:
    write_pixels(folder / "source.parquet", rows)


def collect_all(folder: Path, rows: int) -> None:
    _put(folder, "images", _collected(folder, None))


def collect_again(folder: Path, rows: int) -> None:
    """All of it is known."""
    newest = _got(folder, "images")
    assert _collected(folder, newest) == newest


def verify_all(folder: Path, rows: int) -> None:
    verify(_store(folder), _got(folder, "images").uri, lambda *_: None)


def decode(folder: Path, rows: int) -> None:
    store, images = _store(folder), _got(folder, "images")
    _put(folder, "dataset", ingest(own_spec(load(store, images), images, PX), store, None, lambda *_: None))


def split_and_profile(folder: Path, rows: int) -> None:
    store, dataset = _store(folder), _got(folder, "dataset")
    _put(folder, "prepared", prepare(spec_of(store, load(store, dataset)), store, dataset, None))


def stream(folder: Path, rows: int) -> None:
    from lib.training.devices import start_tensorflow
    from lib.training.fit import train
    from lib.training.task import TrainingTask

    start_tensorflow()
    task = TrainingTask(RECIPE, _got(folder, "prepared"), 0)
    _put(folder, "model", train(_store(folder), Settings(), lambda _: None, task))


def predict(folder: Path, rows: int) -> None:
    from lib.evaluation.predictions import evaluate
    from lib.training.devices import start_tensorflow

    start_tensorflow()
    evaluate(_store(folder), lambda _: None, _got(folder, "model"))


def _collected(folder: Path, newest: Ref | None) -> Ref:
    source = OwnSource(name="scale", uri=str(folder / "source.parquet"), px=PX)
    return collect(source, look(source, folder / "cache"), _store(folder), newest, lambda _: None)


def _store(folder: Path) -> LocalStore:
    return LocalStore(folder / "store")


def _put(folder: Path, kind: str, made: Ref) -> None:
    (folder / kind).write_text(made.model_dump_json())


def _got(folder: Path, kind: str) -> Ref:
    return Ref.model_validate_json((folder / kind).read_text())


STEPS: dict[str, Callable[[Path, int], None]] = {
    "write": write,
    "collect": collect_all,
    "collect again": collect_again,
    "verify": verify_all,
    "ingest": decode,
    "prepare": split_and_profile,
    "train": stream,
    "evaluate": predict,
}
"""In the order in which they run: each finds in the folder what those before it have left there."""


def measure(step: str, folder: Path, rows: int) -> list[float]:
    """Processor seconds with and of children alone, elapsed seconds, and the peak MB of this process and of a child."""
    began = time.monotonic()
    STEPS[step](folder, rows)
    own, children = processor_seconds(), processor_seconds(resource.RUSAGE_CHILDREN)
    peaks = (resource.getrusage(who).ru_maxrss / 1e3 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return [own + children, children, time.monotonic() - began, *peaks]


def main(sizes: list[int]) -> None:
    table = Table(*COLUMNS)
    for rows in sizes:
        with temporary_folder() as folder:
            for step in STEPS:
                spent, children, elapsed, peak, child = json.loads(own_process(MODULE, step, str(folder), str(rows)))
                figures = f"{spent:,.1f}", f"{children:,.1f}", f"{1000 * spent / rows:.3f}", f"{elapsed:,.1f}"
                table.add_row(step, f"{rows:,}", *figures, f"{peak:,.0f}", f"{child:,.0f}")
                print(f"{step} of {rows:,} rows: done", file=sys.stderr)
    Console(width=shutil.get_terminal_size((140, 24)).columns).print(table)


if __name__ == "__main__":
    arguments = given(__doc__)
    if arguments and arguments[0] in STEPS:
        print(json.dumps(measure(arguments[0], Path(arguments[1]), int(arguments[2]))))
    else:
        main([int(each) for each in arguments] or list(SIZES))
