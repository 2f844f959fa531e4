"""Ports and keys that a trial installation gets at its first start, and keeps."""

import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from deployments.ports import free_ports, preferred
from deployments.s3_server import PORTS_NEEDED

PREFECT_PORT, S3_PORT = 4200, 8333


class MadeAtFirstStart(BaseModel):
    """Ports and keys of an installation, the same at each start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefect_port: int
    s3_ports: tuple[int, ...]
    access_key: str
    secret_key: str


def made_at_first_start(folder: Path) -> MadeAtFirstStart:
    """Those of the installation in `folder`, made where it has none yet."""
    file = folder / "made-at-first-start.json"
    if not file.exists():
        made = MadeAtFirstStart(
            prefect_port=preferred(PREFECT_PORT),
            s3_ports=(preferred(S3_PORT), *free_ports(PORTS_NEEDED - 1)),
            access_key=secrets.token_hex(10),
            secret_key=secrets.token_hex(20),
        )
        begun = file.with_suffix(".begun")
        begun.touch(mode=0o600)
        begun.write_text(made.model_dump_json(indent=2))
        begun.replace(file)
    return MadeAtFirstStart.model_validate_json(file.read_text())
