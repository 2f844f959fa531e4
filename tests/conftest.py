"""What tests share: a clean environment, a real S3 server, and the real data sets where a checkout has them."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

DATASETS = Path(__file__).resolve().parents[2] / "shared" / "datasets"


@dataclass(frozen=True)
class S3Server:
    """A running server with one empty bucket."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str

    def environment(self) -> dict[str, str]:
        """The variables by which the AWS SDK finds it."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
        }


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads this machine's settings, keys or caches."""
    for name in list(os.environ):
        if name in {"ALLOW_CPU", "MIRROR_URL", "STORE_URI"} or name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("RETRY_DELAYS_S", "[0,0]")
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """SeaweedFS on free ports of this machine, until the session ends."""
    folder = tmp_path_factory.mktemp("s3")
    names = ("s3.port", "filer.port", "master.port", "volume.port", "webdav.port", "admin.port")
    ports = _free_ports(2 * len(names))
    flags = [f"-{name}={port}" for name, port in zip(names, ports, strict=False)]
    flags += [
        f"-{name}.grpc={port}" for name, port in zip(names, ports[len(names) :], strict=True) if "dav" not in name
    ]
    server = S3Server(f"http://127.0.0.1:{ports[0]}", "test-key", "test-secret", "test-bucket")
    (folder / "data").mkdir()
    command = [
        str(Path(sys.executable).with_name("weed")),
        "mini",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-webdav=false",
        "-admin.ui=false",
        "-s3.autoCreateBucket=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-volume.preStopSeconds=0",
        *flags,
    ]
    environment = {**os.environ, **server.environment(), "S3_BUCKET": server.bucket}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_for_bucket(server, process, folder / "log")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def s3_environment(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with the environment set to reach it."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture(scope="session")
def real_mirror(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file:// URL of the publishers' files, built once; REAL_MIRROR names a folder that has them already."""
    if ready := os.environ.get("REAL_MIRROR"):
        return Path(ready).absolute().as_uri()
    if not DATASETS.is_dir():
        pytest.skip(f"the real data sets are not beside this repository in {DATASETS}")
    folder = tmp_path_factory.mktemp("mirror")
    subprocess.run([sys.executable, str(DATASETS / "make_mirror.py"), str(folder)], check=True)
    return folder.as_uri()


def _free_ports(count: int) -> list[int]:
    """All held open at once, so that they differ."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]


def _wait_for_bucket(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    s3 = boto3.Session().client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
    )
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            s3.put_object(Bucket=server.bucket, Key="ready", Body=b"")
            return
        except (BotoCoreError, ClientError):
            time.sleep(0.1)
    pytest.fail(f"the S3 server did not start:\n{log.read_text()[-2000:]}")
