"""What tests share: a clean environment, a real S3 server, and the real datasets where a checkout has them."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.runtime.environment import for_computing
from lib.store import Store, open_store
from tests.s3_server import S3Server

for ignored in for_computing(os.environ)[1]:  # this machine's, of which each job would warn
    del os.environ[ignored]

DATASETS = Path(__file__).resolve().parents[2] / "shared" / "datasets"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads this machine's settings, keys or caches."""
    for name in list(os.environ):
        if name in {"ALLOW_CPU", "MIRROR_URL", "STORE_URI"} or name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("ENV_FILE", "")
    monkeypatch.setenv("RETRY_DELAYS_S", "[0,0]")
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One for all tests of a session."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def s3_environment(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with the environment set to reach it."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of each kind."""
    if request.param == "folder":
        return open_store(str(tmp_path / "store"), tmp_path / "cache")
    server = request.getfixturevalue("s3_environment")
    return open_store(f"s3://{server.bucket}/{uuid.uuid4().hex}", tmp_path / "cache")


@pytest.fixture(scope="session")
def real_mirror(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file:// URL of the publishers' files, built once; REAL_MIRROR names a folder that has them already."""
    if ready := os.environ.get("REAL_MIRROR"):
        return Path(ready).absolute().as_uri()
    if not DATASETS.is_dir():
        pytest.skip(f"the real datasets are not beside this repository in {DATASETS}")
    folder = tmp_path_factory.mktemp("mirror")
    subprocess.run([sys.executable, str(DATASETS / "make_mirror.py"), str(folder)], check=True)
    return folder.as_uri()
