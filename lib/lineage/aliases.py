"""Names that a person gave to outputs: files in the store's registry, in which `uri` names an output to keep."""

import json
from collections.abc import Iterator
from typing import Any

from lib.errors import PermanentError, shortened
from lib.lineage.manifests import MANIFEST, address_of
from lib.store import Store


def aliases(store: Store) -> list[str]:
    """Every address that a file of the registry names. Raises PermanentError where one names no output."""
    return [address for path in store.list("registry") if path.endswith(".json") for address in _named(store, path)]


def _named(store: Store, path: str) -> list[str]:
    try:
        uris = list(_uris(json.loads(store.read(path))))
    except (ValueError, RecursionError) as error:
        raise PermanentError(
            f"an alias must be JSON; received {path} in {store.uri}: {error}; mend or remove it"
        ) from error
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
