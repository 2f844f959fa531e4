"""What an evaluation costs beyond predicting the same images: `python -m tests.benchmarks.evaluation_cost MODEL …`.

Each MODEL is the address of a model in the store (STORE_URI), from which what it was made of is copied to a temporary
one. Both works load the model and predict 10,000 images: 100 of train, 3,300 of validation and 6,600 of test, so that
nearly all of them have intervals and a calibration. An evaluation may cost 1.2 times as many processor seconds.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from lib.data.grouped import GroupedRows
from lib.data.rows import StoredRows
from lib.lineage.manifests import MANIFEST, Manifest, Ref, find, load
from lib.settings import read_settings
from lib.store import LocalStore, Store, open_store
from tests.benchmarks.measuring import spent

ROWS = {"train": 100, "validation": 3_300, "test": 6_600}
RAW = "raw/"


def make_parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.evaluation_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("models", nargs="+", metavar="MODEL", help="addresses of models")
    options.add_argument("--turns", type=int, default=2, metavar="N", help="how often each is measured (default: 2)")
    return options


def copy(source: Store, target: LocalStore, ref: Ref) -> Manifest:
    """The output at `ref`, all that it was made of but publishers' files, and its manifest."""
    manifest = load(source, ref)
    for each in manifest.inputs.values():
        copy(source, target, each)
    for file in manifest.files.values():
        if not file.path.startswith(RAW) and not target.exists(file.path):
            target.write(file.path, source.local_path(file.path, file.sha256, file.size_bytes))
    target.write(f"{ref.uri}/{MANIFEST}", manifest.to_json())
    return manifest


def first_rows(rows: StoredRows, count: int) -> StoredRows:
    """The first `count`, in memory."""
    images = rows.images.take(np.arange(min(count, len(rows.labels))))
    grouped = GroupedRows([len(images)], images.shape[1:], images.dtype.type, lambda _: images)
    return StoredRows(rows.labels[: len(images)], rows.index[: len(images)], grouped)


def works(folder: Path, address: str) -> tuple[Callable[[], object], Callable[[], object]]:
    """An evaluation of the model at `address`, and predicting the same images: each anew whenever it is called."""
    from lib.evaluation import predictions
    from lib.models.networks import load_network

    source, target = open_store(read_settings().store_uri, read_settings().cache_dir), LocalStore(folder)
    if (found := find(source, address)) is None:
        raise SystemExit(f"nothing finished lies at {address} in {source.uri}")
    if "features" in found[1].inputs:
        raise SystemExit(f"MODEL must compute all of its images; {address} is evaluated from features")
    model = copy(source, target, found[0])
    stored = predictions.open_rows(target, load(target, model.inputs["prepared"]), (*ROWS,))
    rows = {split: first_rows(stored[split], count) for split, count in ROWS.items()}
    predictions.open_rows = lambda *_: rows  # type: ignore[attr-defined]

    def evaluate() -> None:
        made = predictions.evaluate(target, lambda event: None, found[0])
        target.delete(f"{made.uri}/{MANIFEST}")

    def predict() -> None:
        network = load_network(target, model)
        for part in rows.values():
            predictions.predict_rows(network, part.images.all())

    return evaluate, predict


def main() -> None:
    options = make_parser().parse_args()
    from lib.evaluation import predictions
    from lib.training.devices import start_tensorflow

    start_tensorflow()
    open_rows = predictions.open_rows  # type: ignore[attr-defined]
    table = Table("model", "evaluation", "predicting", "ratio (lowest, highest)")
    for address in options.models:
        predictions.open_rows = open_rows  # type: ignore[attr-defined]
        with tempfile.TemporaryDirectory() as folder:
            evaluate, predict = works(Path(folder), address.strip("/"))
            predict()  # what both do once in a process; what an evaluation alone does once, counts
            turns = [(spent(evaluate), spent(predict)) for _ in range(options.turns)]
        ratios = [ours / theirs for ours, theirs in turns]
        middle = [f"{statistics.median(each):.1f} processor s" for each in zip(*turns, strict=True)]
        table.add_row(address, *middle, f"{statistics.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f})")
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
