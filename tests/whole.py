"""Manifests that say what the table of steps asks of their kind, whatever else a test has them say."""

import copy
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from lib.lineage.manifests import Manifest, Ref, StoredFile
from lib.lineage.steps import STEPS

INPUT = Ref(uri="nothing/x/1", sha256="0" * 64)


def whole_manifest(kind: str, address: str, **parts: Any) -> Manifest:
    """One for `address`, of `parts` and empty values for what else its kind must say; all its files are its first."""
    fields: dict[str, Any] = {name: {} for name in ("inputs", "facts", "content", "files", "made_by")}
    fields |= copy.deepcopy(parts)
    file = StoredFile(path=f"{address}/file", sha256="0" * 64, size_bytes=0)
    empty = {"inputs": INPUT, "files": next(iter(fields["files"].values()), file)}
    for place, type_ in STEPS[kind].says.items():
        part, *parents, last = place.split(".")
        inner = fields[part]
        for name in parents:
            inner = inner.setdefault(name, {})
        inner.setdefault(last, empty.get(part, _empty(type_)))
    return Manifest(kind=kind, **fields)


def _empty(type_: Any) -> Any:
    if NoneType in get_args(type_):
        return None
    if get_origin(type_) is Literal:
        return get_args(type_)[0]
    return None if type_ is Any else (get_origin(type_) or type_)()
