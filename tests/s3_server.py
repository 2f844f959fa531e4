"""A real S3 server, SeaweedFS, on free ports of this machine. It keeps its data in a folder and outlives a kill."""

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

PORTS = ("s3.port", "filer.port", "master.port", "volume.port", "webdav.port", "admin.port")
FLAGS = (
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-master.telemetry=false",
    "-webdav=false",
    "-admin.ui=false",
    "-s3.autoCreateBucket=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-volume.preStopSeconds=0",
)


class S3Server:
    """A server with one bucket, empty at first."""

    access_key, secret_key, bucket = "test-key", "test-secret", "test-bucket"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir(parents=True)
        ports = _free_ports(2 * len(PORTS))
        self.endpoint = f"http://127.0.0.1:{ports[0]}"
        self._ports = [f"-{name}={port}" for name, port in zip(PORTS, ports, strict=False)]
        self._ports += [
            f"-{name}.grpc={port}" for name, port in zip(PORTS, ports[len(PORTS) :], strict=True) if "dav" not in name
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        """The variables by which the AWS SDK finds it."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Start it, again on the same ports and data, and wait until it takes objects."""
        weed = str(Path(sys.executable).with_name("weed"))
        command = [weed, "mini", f"-dir={self.folder / 'data'}", *FLAGS, *self._ports]
        environment = {**os.environ, **self.environment(), "S3_BUCKET": self.bucket}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + 60
        s3 = self.client()
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                s3.put_object(Bucket=self.bucket, Key="ready", Body=b"")
                return
            except (BotoCoreError, ClientError):
                time.sleep(0.1)
        raise RuntimeError(f"the S3 server did not start:\n{(self.folder / 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        """kill -9."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Ask it to end, and see to it."""
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(3)
            except subprocess.TimeoutExpired:
                self.kill()

    def client(self) -> "boto3.client":
        """boto3's client of this server, whatever the environment says."""
        return boto3.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
        )


def _free_ports(count: int) -> list[int]:
    """All held open at once, so that they differ."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]
