"""Check an output and all that it was made of, from the store alone.

Walks the manifests back to the raw files, recomputes every digest, of files and of what is in them, and names the
first link that does not hold.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from lib.command_line import add_store_option, main_of, parser
from lib.data.datasets import find_dataset
from lib.data.ingest import split_content
from lib.data.parquet import read_images
from lib.data.parsers import SourceSplit, decode
from lib.data.rows import read_rows
from lib.data.splits import read_splits
from lib.errors import NotFound, PermanentError
from lib.evaluation.metrics import measure
from lib.lineage.manifests import MANIFEST, Manifest, Ref, StoredFile, digest_array, digest_json, find, load, local_file
from lib.reporting.report import leaderboard_rows
from lib.settings import read_settings
from lib.store import Store, open_store

Tell = Callable[[str, Manifest], None]
"""Called with each address that holds, and its manifest."""


def verify(store: Store, address: str, tell: Tell = lambda address, manifest: None) -> Ref:
    """Check the output at `address` and everything that it was made of, inputs first.

    Raises NotFound, or PermanentError that names the first link that does not hold.
    """
    ref, _ = _finished(store, address)
    _verify(store, ref, tell, set())
    return ref


def _verify(store: Store, ref: Ref, tell: Tell, held: set[Ref]) -> None:
    manifest = load(store, ref)
    for input_ref in manifest.inputs.values():
        if input_ref not in held:
            _verify(store, input_ref, tell, held)
    check_files(store, ref.uri)
    record = f"{ref.uri}/{MANIFEST}"
    for name, received in CONTENT[manifest.kind](store, manifest):
        if (expected := manifest.content.get(name)) != received:
            raise PermanentError(
                f"{ref.uri}: {name} must have sha256 {expected}, as {record} says; received {received}"
            )
    held.add(ref)
    tell(ref.uri, manifest)


def check_files(store: Store, address: str) -> None:
    """Check that each file of the output at `address` is whole. Raises NotFound or PermanentError."""
    _, manifest = _finished(store, address)
    for file in manifest.files.values():
        _check_file(store, file, f"{address}/{MANIFEST}")


def _finished(store: Store, address: str) -> tuple[Ref, Manifest]:
    if found := find(store, address):
        return found
    raise NotFound(f"nothing finished lies at {address} in {store.uri}; name an output, such as reports/digits/<key>")


def _check_file(store: Store, file: StoredFile, record: str) -> None:
    data = store.read(file.path)  # not a copy in the cache
    sha256 = hashlib.sha256(data).hexdigest()
    if (sha256, len(data)) != (file.sha256, file.size_bytes):
        raise PermanentError(
            f"{file.path} must have sha256 {file.sha256} and {file.size_bytes:,} bytes, as {record} says; "
            f"received {sha256} and {len(data):,} bytes"
        )
    if not PurePosixPath(file.path).stem.endswith(sha256[:12]):
        raise PermanentError(f"{file.path} must bear its digest in its name; received sha256 {sha256}")


Content = Iterator[tuple[str, str]]
"""Names and sha256 of an output's content, computed anew."""


def _dataset(store: Store, manifest: Manifest) -> Content:
    """The Parquet tables, and what the raw files decode to."""
    spec = find_dataset(manifest.facts["dataset"])
    for split in spec.rows:
        table = read_images(local_file(store, manifest, split))
        coarse = None if table.coarse_labels is None else table.coarse_labels.astype(np.uint8)
        yield from split_content(split, SourceSplit(table.images, table.labels.astype(np.uint8), coarse)).items()
    raw = {file.role: local_file(store, manifest, f"raw/{file.name}") for file in spec.files}
    for name, data in decode(spec, raw).items():
        yield from split_content(name, data).items()


def _prepared(store: Store, manifest: Manifest) -> Content:
    yield from read_splits(store, manifest).content().items()
    yield "profile", digest_json(json.loads(local_file(store, manifest, "profile").read_bytes()))


def _weights(store: Store, manifest: Manifest) -> Content:
    yield "file", hashlib.sha256(local_file(store, manifest, "weights").read_bytes()).hexdigest()


def _features(store: Store, manifest: Manifest) -> Content:
    from lib.training.features import SPLITS, read_features

    for split, features in read_features(store, manifest, SPLITS).items():
        yield split, digest_array(features)


def _model(store: Store, manifest: Manifest) -> Content:
    import keras

    from lib.training.task import digest_weights

    yield "weights", digest_weights(keras.saving.load_model(local_file(store, manifest, "model"), compile=False))
    history = pd.read_parquet(local_file(store, manifest, "history"))
    yield "history", digest_json(history.to_dict("records"))


def _evaluation(store: Store, manifest: Manifest) -> Content:
    prepared = load(store, manifest.inputs["prepared"])
    metrics = json.loads(local_file(store, manifest, "metrics").read_bytes())
    yield "metrics", digest_json(metrics)
    table = pq.read_table(local_file(store, manifest, "predictions"))
    for split, rows in read_rows(store, prepared, ("validation", "test")).items():
        scored = table.filter(np.asarray(table["split"]) == split)
        values = scored["probabilities"].combine_chunks()
        probabilities = values.flatten().to_numpy(zero_copy_only=False).reshape(-1, values.type.list_size)
        yield f"{split}-probabilities", digest_array(probabilities)
        measured = measure(probabilities, rows.labels, prepared.facts["class_names"])
        if measured.confusion != metrics[split]["confusion"] or not math.isclose(measured.loss, metrics[split]["loss"]):
            raise PermanentError(
                f"{manifest.files['metrics'].path} must follow from the predictions beside it; "
                f"received another confusion or loss on {split}"
            )


def _report(store: Store, manifest: Manifest) -> Content:
    evaluations = [load(store, ref) for name, ref in manifest.inputs.items() if name != "prepared"]
    yield "leaderboard", digest_json(leaderboard_rows(evaluations))


CONTENT: dict[str, Callable[[Store, Manifest], Content]] = {
    "dataset": _dataset,
    "prepared": _prepared,
    "weights": _weights,
    "features": _features,
    "model": _model,
    "evaluation": _evaluation,
    "report": _report,
}


def _start_keras_quietly() -> None:
    """Without the lines that TensorFlow writes on standard error as it starts."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        import keras  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def address_of(text: str, store_uri: str) -> str:
    """The address that a person means who gives it, its URI, or one of the files there."""
    path = text.removeprefix("file://").removeprefix(store_uri).strip("/")
    return path.rpartition("/")[0] if PurePosixPath(path).suffix else path


def command(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("ref", nargs="+", metavar="REF", help="an address in the store, such as reports/digits/<key>")
    add_store_option(options)
    chosen = options.parse_args(arguments)
    settings = read_settings()
    store = open_store(settings.store_uri, settings.cache_dir)
    _start_keras_quietly()
    for text in chosen.ref:
        ref = verify(store, address_of(text, store.uri), _show)
        print(f"{ref.uri} holds, and all that it was made of. sha256 {ref.sha256}")


def _show(address: str, manifest: Manifest) -> None:
    by = manifest.made_by
    code = f"{(by['commit'] or 'unknown')[:12]}{', with uncommitted changes' if by['uncommitted_changes'] else ''}"
    print(f"holds: {address}  made {by['at']} in {by['seconds']:g} s by code {code}", flush=True)


if __name__ == "__main__":
    main_of(command)
