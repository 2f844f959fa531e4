"""Check an output and all that it was made of, from the store alone.

Walks the manifests back to the raw files, recomputes every digest, of files and of what is in them, and names the
first link that does not hold.
"""

import hashlib
import pkgutil
from collections.abc import Callable
from pathlib import PurePosixPath

from lib.errors import NotFound, PermanentError
from lib.lineage.manifests import MANIFEST, Manifest, Ref, StoredFile, find, load
from lib.lineage.steps import STEPS
from lib.store import Store

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
    if manifest.kind not in STEPS:
        raise PermanentError(f"{ref.uri} is a {manifest.kind!r}, which no step makes; known: {', '.join(STEPS)}")
    record = f"{ref.uri}/{MANIFEST}"
    for name, received in pkgutil.resolve_name(STEPS[manifest.kind].verified_by)(store, manifest):
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
