"""The command of a real S3 server, SeaweedFS, for one machine. It keeps its data in a folder and outlives a kill."""

import sys
from pathlib import Path

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
PORTS_NEEDED = 2 * len(PORTS)


def weed_command(folder: Path, ports: list[int]) -> list[str]:
    """Serve `folder` on the loopback: S3 on the first of PORTS_NEEDED ports, SeaweedFS's own traffic on the others.

    Its environment names the keys and, as S3_BUCKET, the bucket to make.
    """
    weed = str(Path(sys.executable).with_name("weed"))
    http, grpc = ports[: len(PORTS)], ports[len(PORTS) :]
    named = [f"-{name}={port}" for name, port in zip(PORTS, http, strict=True)]
    named += [f"-{name}.grpc={port}" for name, port in zip(PORTS, grpc, strict=True) if "dav" not in name]
    return [weed, "mini", f"-dir={folder}", *FLAGS, *named]
