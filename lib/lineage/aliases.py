"""What the store's registry names: outputs to keep, by a person's own files, and champions by records.

In each, `uri` names an output. A person's own must name one that exists; records outlive what they name.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from lib.errors import PermanentError, shortened
from lib.lineage.folders import REGISTRY
from lib.lineage.manifests import MANIFEST, address_of
from lib.store import Store

RECORD = re.compile(rf"{REGISTRY}/(?P<dataset>[^/]+)/history/(?P<number>[0-9]{{8}})\.json")


def history_folder(dataset: str) -> str:
    """Where the records of its champions lie (`lib.registry.history`)."""
    return f"{REGISTRY}/{dataset}/history"


def record_path(dataset: str, number: int) -> str:
    return f"{history_folder(dataset)}/{number:08}.json"


def record_numbers(paths: Iterable[str], dataset: str) -> list[int]:
    """Of the records of `dataset` among `paths`, ascending."""
    found = filter(None, map(RECORD.fullmatch, paths))
    return sorted(int(each["number"]) for each in found if each["dataset"] == dataset)


def aliases(store: Store, keep: int | None) -> list[str]:
    """Every address that a person's file in the registry names, and what the last `keep` (None: all) records do.

    Of each history; and also the champion before, to which a rollback returns. Raises PermanentError where a person's
    file names no output.
    """
    paths = store.list(REGISTRY)
    named = [
        address
        for path in paths
        if path.endswith(".json") and not RECORD.fullmatch(path)
        for address in _named(store, path)
    ]
    records = defaultdict(list)
    for path in sorted(paths, reverse=True):
        if is_record := RECORD.fullmatch(path):
            records[is_record["dataset"]].append(path)
    return [*named, *(uri for newest_first in records.values() for uri in _recorded(store, newest_first, keep))]


def _recorded(store: Store, newest_first: list[str], keep: int | None) -> Iterator[str]:
    """What the first `keep` of these records name, and the champions of further ones up to the first other champion."""
    champions: list[Any] = []
    for place, path in enumerate(newest_first):
        recent = keep is None or place < keep
        if not recent and len(champions) > 1:
            return
        record = _read(store, path)
        champion = record.get("champion") if isinstance(record, dict) else None
        yield from _uris(record if recent else champion)
        if champion not in champions:
            champions.append(champion)


def _read(store: Store, path: str) -> Any:
    try:
        return json.loads(store.read(path))
    except (ValueError, RecursionError) as error:
        raise PermanentError(
            f"an alias must be JSON; received {path} in {store.uri}: {error}; mend or remove it"
        ) from error


def _named(store: Store, path: str) -> list[str]:
    uris = list(_uris(_read(store, path)))
    rule = f"the alias {path} must name an output of {store.uri} by its uri"
    addresses = [address_of(uri, store.uri, rule) for uri in uris]
    if not addresses:
        raise PermanentError(f"{rule}; received none; mend or remove it")
    for uri, address in zip(uris, addresses, strict=True):
        if not _exists(store, f"{address}/{MANIFEST}"):
            raise PermanentError(f"{rule}; received {shortened(repr(uri))}; mend or remove it")
    return addresses


def _exists(store: Store, path: str) -> bool:
    try:
        return store.exists(path)
    except PermanentError:  # it is no path of a store
        return False


def _uris(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and isinstance(value.get("uri"), str):
        yield value["uri"]
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _uris(each)
