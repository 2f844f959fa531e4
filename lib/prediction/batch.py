"""The step `prediction`: what a model says of any number of images, in parts that are stored as they are done.

Killed at any moment, it goes on with the part that it was at, and what comes out is equal. One part is in memory.
"""

import re
import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from lib.evaluation.calibration import apply_temperature
from lib.lineage.digests import digest_long_json
from lib.lineage.manifests import Manifest, Ref, StoredFile, commit, find, foreign, put_file
from lib.lineage.provenance import made_by
from lib.models.networks import load_network
from lib.prediction.drift import figures
from lib.prediction.folded import folded
from lib.prediction.inputs import Chunk, InputRow, InputSource, ahead, read_chunks
from lib.prediction.predictions import Asked, Predictor, tables_of
from lib.prediction.table import Predicted, as_table, encode, rows_of, schema, top_classes
from lib.runtime.interrupts import deferred_interrupts
from lib.runtime.jobs import Emit
from lib.settings import Settings
from lib.store import Store
from lib.training.devices import machine, start_tensorflow, within_memory

PART_ROWS = 2_000
PART = re.compile(r"part-(\d{5,})-[0-9a-f]{12}\.parquet")
LARGEST_PART_BYTES = 1 << 30
Probabilities = Callable[[np.ndarray], np.ndarray]
"""(n, H, W, C) uint8 → (n, classes) float32."""


def run(
    store: Store, settings: Settings, emit: Emit, *, evaluation: dict[str, Any], source: dict[str, Any], top: int
) -> Ref:
    """The job's entry: commit what the model of `evaluation` says of the images at `source`, unless it is there."""
    asked = Asked.of(store, Ref.model_validate(evaluation), InputSource.model_validate(source), top, settings)
    if done := find(store, asked.address):
        return done[0]
    start_tensorflow()
    return predict(store, asked, emit)


def predict(store: Store, asked: Asked, emit: Emit, part_rows: int = PART_ROWS) -> Ref:
    """Commit what was `asked`. Raises PermanentError where images cannot be listed; one that is bad is a row."""
    started = time.monotonic()
    predictor = asked.predictor
    columns = schema(asked.top, predictor.says())
    parts = _parts_there(store, asked.address)
    probabilities = _probabilities(store, predictor)
    items = islice(asked.images.items(), part_rows * len(parts), None)
    rows, found = list[InputRow](), list[Predicted]()

    def put() -> None:
        name = f"part-{len(parts):05d}"
        parts[name] = put_file(
            store, asked.address, f"{name}.parquet", encode(as_table(rows, found, predictor.class_names, columns))
        )
        emit({"event": "predicting", "rows": part_rows * (len(parts) - 1) + len(rows)})

    for chunk in ahead(read_chunks(items, predictor.image_shape, part_rows)):
        rows += chunk.rows
        found.append(_predicted(chunk, probabilities, asked))
        if len(rows) == part_rows:
            put()
            rows, found = [], []
    if rows:
        put()
    return _commit(store, asked, parts, time.monotonic() - started)


def _predicted(chunk: Chunk, probabilities: Probabilities, asked: Asked) -> Predicted:
    pixels = chunk.pixels
    if not len(pixels):
        return Predicted(np.empty((0, asked.top), np.int64), np.empty((0, asked.top), np.float32), figures(pixels))

    def compute(rows: int) -> np.ndarray:
        return np.concatenate([probabilities(pixels[at : at + rows]) for at in range(0, len(pixels), rows)])

    with deferred_interrupts():
        said = within_memory(compute, len(pixels))
    labels, likeliest = top_classes(said, apply_temperature(said, asked.predictor.temperature), asked.top)
    return Predicted(labels, likeliest, figures(pixels))


def _probabilities(store: Store, predictor: Predictor) -> Probabilities:
    """Raises PermanentError where the model is one of other images or classes."""
    network, shape = load_network(store, predictor.model), predictor.image_shape
    received = network(np.zeros((1, *shape), np.uint8), training=False).shape
    if received != (1, len(predictor.class_names)):
        raise foreign(store, predictor.model.files["model"].path, f"a model of {received[-1]} classes")
    return folded(network, shape)


def _parts_there(store: Store, address: str) -> dict[str, StoredFile]:
    """The first parts, without a gap, that a run before has put there whole."""
    there = dict[int, str]()
    for path in store.list(address):
        if match := PART.fullmatch(PurePosixPath(path).name):
            there.setdefault(int(match[1]), path)
    parts = dict[str, StoredFile]()
    while path := there.get(len(parts), ""):
        sha256, size = store.digest(path, LARGEST_PART_BYTES)
        if sha256[:12] not in path:
            break
        parts[f"part-{len(parts):05d}"] = StoredFile(path=path, sha256=sha256, size_bytes=size)
    return parts


def _commit(store: Store, asked: Asked, parts: Mapping[str, StoredFile], seconds: float) -> Ref:
    tables = tables_of(store, parts.values())
    manifest = Manifest(
        kind="prediction",
        inputs=asked.predictor.inputs,
        facts=asked.facts(store, tables),
        content={"rows": digest_long_json({"rows": rows_of(tables())})},
        files=dict(parts),
        made_by=made_by(seconds, machine=machine()),
    )
    return commit(store, asked.address, manifest)
