"""Publishers' files → a dataset in the store. The files themselves are kept, so that it can be done again offline."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.data.datasets import DatasetSpec, SplitDigests, dataset_address
from lib.data.fetch import Progress, fetch, remedy
from lib.data.own import spec_of
from lib.data.parquet import ImageFile, read_description, write_images
from lib.data.parsers import Split, StreamedSplit, decode
from lib.data.upstream import UpstreamFile
from lib.errors import InTheWay, NotFound, PermanentError
from lib.images.shards import SHARD
from lib.lineage.manifests import MANIFEST, Manifest, Ref, StoredFile, commit, find, load, local_file, put_file
from lib.lineage.provenance import made_by
from lib.lineage.verify import Recomputed, check_address, must_equal
from lib.redaction import without_secrets
from lib.store import Store
from lib.store.contract import check_path
from lib.temporary import temporary_folder

OF_A_PACKAGE = "they come with scikit-learn: install its version of requirements.lock (make setup)"
OF_ONES_OWN = "its shards were changed after they were written: remove them and their manifest, and ingest it again"


def ingest(spec: DatasetSpec, store: Store, mirror_url: str | None, progress: Progress) -> Ref:
    """Commit `train` and `test` Parquet files whose pixels and labels match the spec, unless they are there."""
    address = dataset_address(spec)
    if done := find(store, address):
        return done[0]
    started = time.monotonic()
    with temporary_folder() as folder:
        kept = _kept(store, spec)

        def bring(file: UpstreamFile) -> Path:
            return fetch(file, mirror_url, folder, progress)

        advice = OF_ONES_OWN if spec.images else remedy(bool(mirror_url)) if spec.files else OF_A_PACKAGE
        try:
            sources, decoded = _read(spec, store, kept, bring, advice)
        except PermanentError:
            if not kept:
                raise
            kept = {}  # of an older file of the same name, or damaged: what is published now decides
            sources, decoded = _read(spec, store, kept, bring, advice)
        # Only what decoded to the right pixels is kept.
        raw = {file.name: kept.get(file.name) or _keep(store, spec, file, sources[file.role]) for file in spec.files}
        if raw:
            store.write(_index(spec), json.dumps({n: f.model_dump() for n, f in raw.items()}, indent=2).encode())
        content, files = _write_tables(store, address, spec, decoded, folder, advice)
    facts = {"dataset": spec.name, "rows": dict(spec.rows), "licence": spec.licence, "source": spec.source}
    lists = {name: list(getattr(spec, name)) for name in ("image_shape", "class_names", "superclass_names")}
    manifest = Manifest(
        kind="dataset",
        inputs=_inputs(spec),
        facts={**facts, **lists},
        content=content,
        files={**files, **{f"raw/{n}": f for n, f in raw.items()}},
        made_by=made_by(time.monotonic() - started, fetched_from=without_secrets(mirror_url or "publisher")),
    )
    return commit(store, address, manifest)


def _read(
    spec: DatasetSpec, store: Store, kept: dict[str, StoredFile], bring: Callable[[UpstreamFile], Path], advice: str
) -> tuple[dict[str, Path], dict[str, Split]]:
    """The files by role, of which `bring` gets what is not `kept`, and what they decode to.

    `advice` is what to do where they are others than the spec says.
    """
    sources = {
        file.role: store.local_path(**kept[file.name].model_dump()) if file.name in kept else bring(file)
        for file in spec.files
    }
    sources |= _shards(store, spec)
    with _advising(advice):
        return sources, {**decode(spec, sources)}


def _shards(store: Store, spec: DatasetSpec) -> dict[str, Path]:
    """The files of a person's own images."""
    if spec.images is None:
        return {}
    images = load(store, spec.images)
    return {name: local_file(store, images, name) for name in images.files if name.startswith(SHARD)}


@contextmanager
def _advising(advice: str) -> Iterator[None]:
    """Says of what cannot be decoded what to do about it."""
    try:
        yield
    except PermanentError as error:
        raise PermanentError(f"{error}; {advice}") from error


def _write_tables(
    store: Store, address: str, spec: DatasetSpec, decoded: dict[str, Split], folder: Path, advice: str
) -> tuple[dict[str, str], dict[str, StoredFile]]:
    """Content and files of the splits, which leave `decoded`: one in memory is enough."""
    content: dict[str, str] = {}
    files: dict[str, StoredFile] = {}
    for split in list(decoded):
        data = decoded.pop(split)
        path = folder / f"{split}.parquet"
        with _advising(advice):  # some images are decoded only now
            pixels = write_images(path, spec, data)
        content |= split_content(split, data.digests(pixels))
        del data
        files[split] = put_file(store, address, path.name, path)
    return content, files


def split_content(name: str, digests: SplitDigests) -> dict[str, str]:
    """What a dataset's manifest says of the content of the split called `name`."""
    return {f"{name}-{field}": sha256 for field, sha256 in digests.model_dump(exclude_none=True).items()}


def recompute(store: Store, address: str, manifest: Manifest) -> Recomputed:
    """For verify: what the Parquet tables hold. Raises PermanentError where the raw files decode to anything else."""
    spec = spec_of(store, manifest)
    check_address("dataset", address, **spec.key_values())
    content: dict[str, str] = {}
    described: dict[str, str] = {}
    for split in spec.rows:
        path = local_file(store, manifest, split)
        file, described = ImageFile(path), read_description(path)
        table = StreamedSplit(file.images, file.table.labels, file.table.coarse_labels)
        content |= split_content(split, table.digests())
    raw = {file.role: local_file(store, manifest, f"raw/{file.name}") for file in spec.files} | _shards(store, spec)
    advice = f"remove them and {address}/{MANIFEST}, and ingest it again"
    with _advising(f"its raw files are not the published ones: {advice}"):
        found = {name: data.digests() for name, data in decode(spec, raw).items()}
    for decoded, digests in found.items():
        for name, sha256 in split_content(decoded, digests).items():
            must_equal(address, f"{name} of the raw files", content.get(name), sha256)
    lists = {name: list(getattr(spec, name)) for name in ("image_shape", "class_names", "superclass_names")}
    stated = {name: described[name] for name in ("licence", "source")}
    tables = {split: f"{split}.parquet" for split in spec.rows}
    return Recomputed(
        inputs=frozenset(_inputs(spec)),
        facts={"dataset": spec.name, "rows": dict(spec.rows), **stated, **lists},
        content=content,
        files=tables | {f"raw/{file.name}": f"raw/{spec.name}/{file.name}" for file in spec.files},
    )


def _inputs(spec: DatasetSpec) -> dict[str, Ref]:
    return {"images": spec.images} if spec.images else {}


def _index(spec: DatasetSpec) -> str:
    return f"raw/{spec.name}/index.json"


def _kept(store: Store, spec: DatasetSpec) -> dict[str, StoredFile]:
    try:
        index = store.read(_index(spec))
    except InTheWay:  # to fetch the files would be in vain: the list could not be written
        raise
    except NotFound:
        return {}
    try:
        kept = {name: StoredFile.model_validate(file) for name, file in json.loads(index).items()}
        for file in kept.values():
            check_path(file.path)
    except (ValueError, AttributeError, RecursionError, PermanentError) as error:
        raise PermanentError(f"{_index(spec)} in {store.uri} is damaged; remove it and run again") from error
    # What was removed, or is known to be another file, is fetched anew.
    known = {file.name: file.sha256 for file in spec.files}
    return {
        name: file for name, file in kept.items() if known.get(name) in {None, file.sha256} and store.exists(file.path)
    }


def _keep(store: Store, spec: DatasetSpec, file: UpstreamFile, path: Path) -> StoredFile:
    return put_file(store, f"raw/{spec.name}", file.name, path)
