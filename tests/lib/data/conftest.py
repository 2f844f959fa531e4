"""A publisher that runs, and a mirror."""

import gzip
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from .publisher import FILES, Publisher


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def mirror(tmp_path: Path) -> Callable[..., str]:
    """Makes a folder of the toy's files and gives its URL."""

    def make(name: str = "mirror", level: int = 9, mtime: int = 0, **changed: bytes) -> str:
        folder = tmp_path / name
        folder.mkdir()
        for role, data in {**FILES, **{role.replace("_", "-"): data for role, data in changed.items()}}.items():
            (folder / f"{role}.gz").write_bytes(gzip.compress(data, level, mtime=mtime))
        return folder.as_uri()

    return make


@pytest.fixture(params=[5_000, 7], ids=["one group", "groups of 7 rows"])
def groups(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of how many rows the groups of a file are."""
    monkeypatch.setattr("lib.data.parquet.ROW_GROUP_ROWS", request.param)
