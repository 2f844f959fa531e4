"""Check an output and all that it was made of, from the store alone.

Walks the manifests back to the raw files, reads every file, works out anew what each manifest says, and names the
first thing that does not hold.
"""

import json
import math
import pkgutil
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from lib.errors import NotFound, PermanentError, PipelineError, cause
from lib.lineage.manifests import MANIFEST, Manifest, Ref, StoredFile, find, load
from lib.lineage.steps import STEPS
from lib.store import Store
from lib.store.contract import LARGEST_RECORD_BYTES

Tell = Callable[[str, Manifest], None]
"""Called with each address that holds, and its manifest."""
ABSENT = "nothing"


@dataclass(frozen=True)
class Recomputed:
    """What a manifest must say, worked out from the inputs and files of its output. It may say no more.

    What works it out calls `check_address` first.
    """

    facts: Mapping[str, Any]
    content: Mapping[str, str]
    files: Mapping[str, str]
    """Name in the manifest → name that was given to `put_file`; with a folder where it does not lie at the address."""
    inputs: frozenset[str] = field(default=frozenset())
    """The names of its inputs."""
    note: str = ""
    """What could not be worked out here, and why."""


def verify(
    store: Store,
    address: str,
    tell: Tell = lambda address, manifest: None,
    sha256: str | None = None,
    warn: Callable[[str], None] = lambda message: None,
    held: Container[str] = (),
) -> Ref:
    """Check the output at `address` and everything that it was made of, inputs first.

    `sha256` is the digest that its ref must have, if that was kept elsewhere. `warn` is told what could not be checked.
    The addresses in `held` are known to hold, and are passed over.
    Raises NotFound, or PermanentError that names the first thing that does not hold.
    """
    ref, _ = _finished(store, address)
    if sha256 is not None:
        load(store, Ref(uri=address, sha256=sha256))
    chain = [each for each in _chain(store, ref) if each.uri not in held]
    for each in chain:  # of all before the rest, which takes longer
        check_files(store, each.uri)
    for each in chain:
        if note := _check_record(store, each):
            warn(note)
        tell(each.uri, load(store, each))
    return ref


def check_output(store: Store, ref: Ref) -> str:
    """Check the output at `ref` against its files and inputs, which are taken to hold; a note on what cannot be.

    Raises as `verify` does.
    """
    check_files(store, ref.uri)
    return _check_record(store, ref)


def _chain(store: Store, ref: Ref) -> list[Ref]:
    """`ref` and all that it was made of, inputs first."""
    chain: dict[Ref, None] = {}

    def add(ref: Ref, before: int) -> None:
        """`before`: its step must be among the first so many, which also bounds how deep a chain can be."""
        manifest = load(store, ref)
        place = _place(ref, manifest, before)
        for each in manifest.inputs.values():
            if each not in chain:
                add(each, place)
        chain[ref] = None

    add(ref, len(STEPS))
    return list(chain)


def _check_record(store: Store, ref: Ref) -> str:
    """Check what the manifest says; a note on what cannot be checked."""
    manifest = load(store, ref)
    _place(ref, manifest, len(STEPS))
    for name, each in manifest.inputs.items():
        kind = load(store, each).kind
        if name != kind and not name.startswith(f"{kind}-"):
            raise PermanentError(f"{ref.uri}: its input {name!r} must be of that kind; received {kind} {each.uri}")
    right = _recomputed(store, ref, manifest)
    must_equal(ref.uri, "the list of inputs", sorted(right.inputs), sorted(manifest.inputs))
    must_equal(ref.uri, "facts", right.facts, manifest.facts)
    _check_content(ref, manifest, right)
    _check_names(ref, manifest, right)
    return right.note


def _check_content(ref: Ref, manifest: Manifest, right: Recomputed) -> None:
    for name in sorted({*right.content, *manifest.content}):
        expected, received = manifest.content.get(name, ABSENT), right.content.get(name, ABSENT)
        if expected != received:
            raise PermanentError(
                f"{ref.uri}: {name} must have sha256 {expected}, as {ref.uri}/{MANIFEST} says; received {received}"
            )


def _check_names(ref: Ref, manifest: Manifest, right: Recomputed) -> None:
    """Each file lies where `put_file` would put it, and there are no others."""
    must_equal(ref.uri, "the list of files", sorted(right.files), sorted(manifest.files))
    for name, file in manifest.files.items():
        plain = PurePosixPath(right.files[name])
        folder = ref.uri if plain.parent == PurePosixPath() else str(plain.parent)
        must_equal(ref.uri, f"files.{name}", f"{folder}/{plain.stem}-{file.sha256[:12]}{plain.suffix}", file.path)


def check_address(kind: str, address: str, **values: Any) -> None:
    """Raise PermanentError where an output of `values` (`Step.address`) does not lie at `address`.

    To be called before anything is worked out: what another version of a step made is no forgery, and is said to be so.
    """
    step = STEPS[kind]
    if (expected := step.address(**values)) == address:
        return
    for version in range(1, step.version):
        if step.address_in(version, **values) == address:
            raise PermanentError(
                f"{address} was made by version {version} of the step {kind}, and this code has version "
                f"{step.version}; verify it with the code that made it, or make it anew"
            )
    raise PermanentError(f"{address}: its address must be {expected}, as its inputs and facts give it")


def must_equal(address: str, what: str, expected: Any, received: Any) -> None:
    """Raise PermanentError that names the first value at which the two differ; numbers may in their last digits."""
    if difference := _difference(what, _plain(expected), _plain(received)):
        name, right, wrong = difference
        raise PermanentError(
            f"{address}: {name} must be {_shown(right)}, as its inputs and files give it; received {_shown(wrong)}"
        )


def check_files(store: Store, address: str) -> None:
    """Check that each file of the output at `address` is whole. Raises NotFound or PermanentError."""
    _, manifest = _finished(store, address)
    for file in manifest.files.values():
        _check_file(store, file, f"{address}/{MANIFEST}")


def _place(ref: Ref, manifest: Manifest, before: int) -> int:
    """The place of its step, which comes before that of what was made of it."""
    if manifest.kind not in STEPS:
        raise PermanentError(f"{ref.uri} is a {manifest.kind!r}, which no step makes; known: {', '.join(STEPS)}")
    if not ref.uri.startswith(f"{STEPS[manifest.kind].root}/"):
        raise PermanentError(
            f"{ref.uri}: its address must be in {STEPS[manifest.kind].root}, as it is a {manifest.kind}"
        )
    if (place := list(STEPS).index(manifest.kind)) >= before:
        raise PermanentError(f"{ref.uri}: no output of a later step is made of a {manifest.kind}")
    return place


def _recomputed(store: Store, ref: Ref, manifest: Manifest) -> Recomputed:
    recompute = pkgutil.resolve_name(STEPS[manifest.kind].verified_by)
    try:
        right: Recomputed = recompute(store, ref.uri, manifest)
        return right
    except PipelineError:
        raise
    except Exception as error:  # whatever libraries raise on files and facts that are not what their names say
        raise PermanentError(f"the {manifest.kind} at {ref.uri} cannot be read: {cause(error)}") from error


def _finished(store: Store, address: str) -> tuple[Ref, Manifest]:
    if found := find(store, address):
        return found
    raise NotFound(f"nothing finished lies at {address} in {store.uri}; name an output, such as reports/digits/<key>")


def _check_file(store: Store, file: StoredFile, record: str) -> None:
    # Not a copy in the cache. Of a file that has grown, no more is read than a person can wait for.
    sha256, size = store.digest(file.path, file.size_bytes + LARGEST_RECORD_BYTES)
    if (sha256, size) != (file.sha256, file.size_bytes):
        raise PermanentError(
            f"{file.path} must have sha256 {file.sha256} and {file.size_bytes:,} bytes, as {record} says; "
            f"received {sha256} and {size:,} bytes"
        )
    if not PurePosixPath(file.path).stem.endswith(sha256[:12]):
        raise PermanentError(f"{file.path} must bear its digest in its name; received sha256 {sha256}")


def _difference(what: str, expected: Any, received: Any) -> tuple[str, Any, Any] | None:
    """The first place at which two values from JSON differ, and what stands there."""
    if isinstance(expected, list) and isinstance(received, list) and len(expected) == len(received):
        expected, received = (dict(enumerate(each)) for each in (expected, received))
    if isinstance(expected, dict) and isinstance(received, dict):
        for key in dict.fromkeys([*expected, *received]):
            if found := _difference(f"{what}.{key}", expected.get(key, ABSENT), received.get(key, ABSENT)):
                return found
        return None
    # Sums of floats differ in their last digits from one processor or library to another.
    if type(expected) is type(received) is float and math.isclose(expected, received, rel_tol=1e-6, abs_tol=1e-9):
        return None
    return None if type(expected) is type(received) and expected == received else (what, expected, received)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
