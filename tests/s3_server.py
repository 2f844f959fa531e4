"""A real S3 server, SeaweedFS, on free ports of this machine. It keeps its data in a folder and outlives a kill."""

import os
import subprocess
import time
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deployments.ports import free_ports
from deployments.s3_server import PORTS_NEEDED, guarded_by, weed_command


class S3Server:
    """A server with one bucket, empty at first."""

    access_key, secret_key, bucket = "test-key", "test-secret", "test-bucket"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir(parents=True)
        ports = free_ports(PORTS_NEEDED)
        self.endpoint = f"http://127.0.0.1:{ports[0]}"
        self._command = weed_command(folder / "data", ports)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of its process, once it was started."""
        assert self._process
        return self._process.pid

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

        guarded = guarded_by(self.folder, "test-internal")
        environment = {**os.environ, **self.environment(), **guarded, "S3_BUCKET": self.bucket}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=environment, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT
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
