"""sha256 of logical content: numbers, arrays, names; never of the bytes of a file that wraps them."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np


def digest_json(value: Any) -> str:
    """sha256 of `value` as JSON with sorted keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_array(array: np.ndarray) -> str:
    """sha256 of the array's bytes in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def digest_blocks(blocks: Iterable[np.ndarray]) -> str:
    """What `digest_array` says of all `blocks` one behind the other, of which one is in memory at a time."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()


def digest_arrays(arrays: Iterable[tuple[str, np.ndarray]]) -> str:
    """sha256 over names, dtypes, shapes and bytes, in the order given."""
    return digest_json([[name, str(a.dtype), list(a.shape), digest_array(a)] for name, a in arrays])
