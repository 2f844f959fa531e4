"""Object storage behind one small contract: `contract.py`, and what keeps it: `folder.py` and `s3.py`."""

from pathlib import Path
from urllib.parse import unquote

from lib.errors import PermanentError
from lib.store.contract import Store
from lib.store.folder import LocalStore

__all__ = ["LocalStore", "Store", "open_store"]


def open_store(uri: str, cache_dir: Path) -> Store:
    """The store at `uri`: a folder path, file://…, or s3://bucket/prefix. Touches nothing yet."""
    if uri.startswith("s3://"):
        from lib.store.s3 import S3Store

        return S3Store(uri, cache_dir)
    if uri.startswith("file://"):
        return LocalStore(Path(unquote(uri.removeprefix("file://"))))
    if "://" in uri:
        raise PermanentError(f"a store is a folder or s3://bucket/prefix; received {uri!r}")
    return LocalStore(Path(uri))
