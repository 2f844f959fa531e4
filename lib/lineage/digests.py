"""sha256 of logical content: numbers, arrays, names; never of the bytes of a file that wraps them."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

ITEMS_AT_ONCE = 1_000
_text = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def digest_json(value: Any) -> str:
    """sha256 of `value` as JSON with sorted keys."""
    return hashlib.sha256(_text(value).encode()).hexdigest()


def digest_long_json(members: Mapping[str, Any]) -> str:
    """`digest_json` of `members`, of which iterators stand for lists: however long, they are never in memory whole."""
    digest = hashlib.sha256()
    for number, name in enumerate(sorted(members)):
        digest.update(f"{',' if number else '{'}{_text(name)}:".encode())
        for text in _pieces(members[name]):
            digest.update(text.encode())
    digest.update(b"}" if members else b"{}")
    return digest.hexdigest()


def _pieces(value: Any) -> Iterator[str]:
    if not isinstance(value, Iterator):
        yield _text(value)
        return
    yield "["
    between = ""
    while items := list(islice(value, ITEMS_AT_ONCE)):
        yield between + _text(items)[1:-1]
        between = ","
    yield "]"


def digest_array(array: np.ndarray) -> str:
    """sha256 of the array's bytes in C order."""
    return digest_blocks([array])


def digest_blocks(blocks: Iterable[np.ndarray]) -> str:
    """`digest_array` of an array that comes in blocks of its rows."""
    sha256 = hashlib.sha256()
    for block in blocks:
        sha256.update(np.ascontiguousarray(block).data)
    return sha256.hexdigest()


def digest_arrays(arrays: Iterable[tuple[str, np.ndarray]]) -> str:
    """sha256 over names, dtypes, shapes and bytes, in the order given."""
    return digest_json([[name, str(a.dtype), list(a.shape), digest_array(a)] for name, a in arrays])
