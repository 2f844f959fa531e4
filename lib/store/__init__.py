"""Object storage behind one small contract: `contract.py`, and what keeps it: `folder.py` and `s3.py`."""

from pathlib import Path

from lib import addresses
from lib.settings import read_settings
from lib.store.contract import Store
from lib.store.folder import LocalStore

__all__ = ["LocalStore", "Store", "open_store"]

RULE = "a store must be a folder or s3://bucket/prefix"


def open_store(uri: str, cache_dir: Path) -> Store:
    """The store at `uri`: a folder path, file:///…, or s3://bucket/prefix. Touches nothing yet.

    Copies of what an S3 store holds go to `cache_dir`, which is kept at CACHE_MAX_GB.
    """
    if uri.startswith("s3://"):
        from lib.store.cache import Cache
        from lib.store.s3 import S3Store

        return S3Store(uri, Cache(cache_dir, int(read_settings().cache_max_gb * 1e9)))
    return LocalStore(addresses.folder(uri, RULE))
