"""A real S3 server, SeaweedFS, for one machine. It keeps its data in a folder and outlives a kill.

SeaweedFS is several servers that talk over HTTP and gRPC, and by default each obeys whoever reaches its port. Here only
S3 itself answers others, by its keys: HTTP between the parts is off or signed, and gRPC needs a certificate.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from deployments.programs import program

PORTS = ("s3.port", "filer.port", "master.port", "volume.port", "webdav.port", "admin.port")
FLAGS = (
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-disableHttp",
    "-master.telemetry=false",
    "-webdav=false",
    "-admin.ui=false",
    "-s3.autoCreateBucket=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-volume.preStopSeconds=0",
)
PORTS_NEEDED = 2 * len(PORTS)
SIGNED = ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")
PARTS = ("MASTER", "VOLUME", "FILER", "S3", "ADMIN", "WORKER", "CLIENT")


def weed_command(folder: Path, ports: list[int]) -> list[str]:
    """Serve `folder` on the loopback: S3 on the first of PORTS_NEEDED ports, SeaweedFS's own traffic on the others.

    Its environment names the keys and, as S3_BUCKET, the bucket to make; `guarded_by` is the rest of it.
    """
    http, grpc = ports[: len(PORTS)], ports[len(PORTS) :]
    named = [f"-{name}={port}" for name, port in zip(PORTS, http, strict=True)]
    named += [f"-{name}.grpc={port}" for name, port in zip(PORTS, grpc, strict=True) if "dav" not in name]
    return [program("weed"), "mini", f"-dir={folder}", *FLAGS, *named]


def guarded_by(folder: Path, internal_key: str) -> dict[str, str]:
    """The variables that close SeaweedFS's own ports to all but itself. Its certificate lies in `folder`."""
    certificate, private_key = folder / "certificate.pem", folder / "private-key.pem"
    if not (certificate.exists() and private_key.exists()):
        _make_certificate(certificate, private_key)
    signed = {f"WEED_JWT_{use}_KEY": internal_key for use in SIGNED}
    shown = {f"WEED_GRPC_{part}_CERT": str(certificate) for part in PARTS}
    proved = {f"WEED_GRPC_{part}_KEY": str(private_key) for part in PARTS}
    return {**signed, **shown, **proved, "WEED_GRPC_CA": str(certificate)}


def _make_certificate(certificate: Path, private_key: Path) -> None:
    """One that vouches for itself: all parts present it, and take no other."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "parts of one S3 server")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=365))  # the clock may be set back
        .not_valid_after(now + timedelta(days=36_500))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private_key.touch(mode=0o600)
    private_key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
