"""Refs and manifests: what is done and where it lies.

A step's output lies at an address that is a function of its inputs (`lib.lineage.steps`). Its manifest is written
last and created only once: where it exists, every file it names is whole.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lib.addresses import folder
from lib.errors import InTheWay, NotFound, PermanentError, PipelineError, cause, explain_validation, shortened
from lib.lineage.digests import digest_json
from lib.lineage.folders import RAW
from lib.lineage.steps import STEPS
from lib.store import Store

MANIFEST = "manifest.json"
SCHEMA_VERSION: Literal[3] = 3
DEEPEST = 50
Content = TypeVar("Content")


class OtherVersion(PermanentError):
    """Another version of this code wrote the manifest."""


class Ref(BaseModel):
    """What passes between steps: an address in the store, and the digest of what it must hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str = Field(description="address in the store, such as prepared/digits/1f3a…")
    sha256: str = Field(description="digest of kind, inputs, facts and logical content", pattern="^[0-9a-f]{64}$")


class StoredFile(BaseModel):
    """A file of an output; its name carries its content's digest, so that two writers never meet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: str
    size_bytes: int


class Manifest(BaseModel):
    """The commit record of one output. `files` and `made_by` stand outside the ref's digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[3] = SCHEMA_VERSION
    kind: str
    """Its step in `lib.lineage.steps`."""
    inputs: dict[str, Ref]
    facts: dict[str, Any]
    content: dict[str, str]
    """Digests of logical content: decoded pixels, labels, weights, numbers."""
    files: dict[str, StoredFile]
    made_by: dict[str, Any]

    def ref(self, address: str) -> Ref:
        """The ref of this manifest at `address`."""
        return Ref(uri=address, sha256=digest_json(self.model_dump(include={"kind", "inputs", "facts", "content"})))

    def to_json(self) -> bytes:
        """As it is stored: with a checksum over everything, what stands outside the ref too."""
        fields = self.model_dump(mode="json")
        return json.dumps({**fields, "checksum": digest_json(fields)}, indent=2, allow_nan=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Manifest":
        """Read what `to_json` wrote. Raises OtherVersion, or ValueError where a single byte is another."""
        try:
            fields = json.loads(data)
        except RecursionError as error:
            raise ValueError("a manifest is not nested so deep") from error
        if not isinstance(fields, dict) or _depth(fields) > DEEPEST:
            raise ValueError(f"a manifest is a JSON object, nested at most {DEEPEST} deep")
        checksum, version = fields.pop("checksum", None), fields.get("schema_version")
        if version != SCHEMA_VERSION and checksum == digest_json(fields):
            raise OtherVersion(f"its schema has version {version}, and this code reads {SCHEMA_VERSION}")
        manifest = cls.model_validate(fields)
        if manifest.to_json() != data:
            raise ValueError("the manifest does not match its checksum")
        return manifest


def _depth(value: Any) -> int:
    """How many lists and objects lie within one another, up to one more than DEEPEST."""
    level, depth = [value], 0
    while level and depth <= DEEPEST:
        inner = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level, depth = [each for values in inner for each in values], depth + bool(inner)
    return depth


def address_of(text: str, store_uri: str, rule: str) -> str:
    """The address that a person means who gives it, its URI, or the path of its folder or of a file there.

    Raises PermanentError that begins with `rule` where it can be none.
    """
    rule = f"{rule}, such as reports/digits/<key>"
    place = PurePosixPath(folder(text, rule) if text.startswith("file:") else text)
    path = _seen_from(store_uri, place)
    if not str(path).strip("./"):
        raise PermanentError(f"{rule}; received {shortened(repr(text))}")
    return str(path.parent if path.suffix else path).strip("/")


def _seen_from(store_uri: str, place: PurePosixPath) -> PurePosixPath:
    """`place` within the store; unchanged where it does not lie there, as an address does."""
    if os.path.lexists(place):  # a path from the current folder, as a shell completes it
        here, root = PurePosixPath(os.path.realpath(place)), os.path.realpath(store_uri)
        if here.is_relative_to(root):
            return here.relative_to(root)
    return place.relative_to(store_uri) if place.is_relative_to(store_uri) else place


def put_file(store: Store, address: str, name: str, data: bytes | Path) -> StoredFile:
    """Store `data` under `address` as `stem-<digest>.suffix`."""
    if isinstance(data, bytes):
        sha256, size = hashlib.sha256(data).hexdigest(), len(data)
    else:
        with data.open("rb") as stream:
            sha256, size = hashlib.file_digest(stream, "sha256").hexdigest(), data.stat().st_size
    as_path = PurePosixPath(name)
    path = f"{address}/{as_path.stem}-{sha256[:12]}{as_path.suffix}"
    store.write(path, data)
    return StoredFile(path=path, sha256=sha256, size_bytes=size)


def find(store: Store, address: str) -> tuple[Ref, Manifest] | None:
    """The finished output at `address`, or None."""
    try:
        manifest = Manifest.from_json(store.read(f"{address}/{MANIFEST}"))
    except InTheWay:  # to make the output would be in vain: it could not be committed
        raise
    except NotFound:
        return None
    except OtherVersion as error:
        raise OtherVersion(
            f"{address} in {store.uri} was written by another version of this code: {error}; "
            "make it anew, and remove the folder when you no longer need it"
        ) from error
    except ValueError as error:
        raise PermanentError(
            f"{address}/{MANIFEST} in {store.uri} was changed after it was written; remove it and run again"
        ) from error
    if other := next((each for each in _own_folders(manifest) if each != PurePosixPath(address)), None):
        raise PermanentError(
            f"{address}/{MANIFEST} in {store.uri} must name files that lie beside it; received some at {other}: it is "
            "another output's; remove it and run again"
        )
    if missing := _missing(address, manifest):
        raise PermanentError(
            f"{address}/{MANIFEST} in {store.uri} does not say what a manifest of kind {manifest.kind} must "
            f"({missing}); remove it and run again"
        )
    return manifest.ref(address), manifest


def _own_folders(manifest: Manifest) -> Iterator[PurePosixPath]:
    """Where its files lie, apart from what a dataset was read from, which several versions of it share."""
    for name, file in manifest.files.items():
        if not (name.startswith(f"{RAW}/") and file.path.startswith(f"{RAW}/")):
            yield PurePosixPath(file.path).parent


def _missing(address: str, manifest: Manifest) -> str:
    """The first thing that the table of steps asks of it and that it does not say; empty where it says all.

    What lies elsewhere than its kind is taken for no output: `verify` and retention say so.
    """
    step = STEPS.get(manifest.kind)
    for place, type_ in step.says.items() if step and address.startswith(f"{step.root}/") else ():
        part, *names = place.split(".")
        value = getattr(manifest, part)
        for name in names:
            if not isinstance(value, dict) or name not in value:
                return f"{place} is missing"
            value = value[name]
        try:
            _type(type_).validate_python(value, strict=True)
        except ValidationError as error:
            return f"{place}: {error.errors()[0]['msg']}; received {shortened(repr(value))}"
    return ""


@cache
def _type(type_: Any) -> TypeAdapter[Any]:
    return TypeAdapter(type_)


def load(store: Store, ref: Ref) -> Manifest:
    """The manifest that `ref` names. Raises NotFound, or PermanentError where its digest is another."""
    found = find(store, ref.uri)
    if found is None:
        raise NotFound(f"nothing finished lies at {ref.uri} in {store.uri}")
    if found[0].sha256 != ref.sha256:
        raise PermanentError(
            f"{ref.uri} is not what was asked for: expected sha256 {ref.sha256}, received {found[0].sha256}"
        )
    return found[1]


def commit(store: Store, address: str, manifest: Manifest) -> Ref:
    """Say that the output is done. Of two writers the first wins, and both get its ref."""
    store.create(f"{address}/{MANIFEST}", manifest.to_json())
    found = find(store, address)
    if found is None:
        raise NotFound(f"the manifest just written to {address} is not there")
    return found[0]


def local_file(store: Store, manifest: Manifest, name: str) -> Path:
    """A local, checked copy of the file that the manifest calls `name`. Raises PermanentError where it is gone."""
    file = manifest.files[name]
    try:
        return store.local_path(file.path, file.sha256, file.size_bytes)
    except NotFound as error:
        address = next(_own_folders(manifest))  # `find` has seen that the manifest lies there
        raise PermanentError(f"{error}; remove {address}/{MANIFEST} and run again, which makes it anew") from error


def read_file(store: Store, manifest: Manifest, name: str, read: Callable[[Path], Content]) -> Content:
    """What `read` makes of the file that the manifest calls `name`: THE way to read what an output holds.

    Its digest shows that it is the one which the manifest names, and not that it is what its name says: what another
    program wrote can be right in itself. So `read` checks all that is needed, and may raise whatever libraries raise.
    Raises PermanentError that names the file, as `local_file` does where it is gone.
    """
    path = local_file(store, manifest, name)
    try:
        return read(path)
    except (MemoryError, PipelineError):
        raise
    except ValidationError as error:
        raise foreign(store, manifest.files[name].path, str(explain_validation(error, "it"))) from error
    except Exception as error:
        raise foreign(store, manifest.files[name].path, cause(error)) from error


def foreign(store: Store, path: str, received: str) -> PermanentError:
    """What is to be said of an output's file at `path` that is whole and not what its name says."""
    address = path.rpartition("/")[0]
    return PermanentError(
        f"{path} in {store.uri} must hold what its output needs; received another content ({received}): it is damaged, "
        f"or of another program: remove {address}/{MANIFEST} and run again, which makes it anew"
    )
