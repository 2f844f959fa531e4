"""Ports and keys that a trial installation gets at its first start, and keeps."""

import json
import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from deployments.ports import free_ports, preferred
from deployments.s3_server import PORTS_NEEDED
from lib.files import read_regular

LARGEST_BYTES = 1 << 20
PREFECT_PORT, S3_PORT = 4200, 8333


class MadeAtFirstStart(BaseModel):
    """Ports and keys of an installation, the same at each start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefect_port: int = Field(default_factory=lambda: preferred(PREFECT_PORT))
    s3_ports: tuple[int, ...] = Field(
        default_factory=lambda: (preferred(S3_PORT), *free_ports(PORTS_NEEDED - 1)),
        min_length=PORTS_NEEDED,
    )
    access_key: str = Field(default_factory=lambda: secrets.token_hex(10))
    secret_key: str = Field(default_factory=lambda: secrets.token_hex(20))
    s3_internal_key: str = Field(default_factory=lambda: secrets.token_hex(32))
    """By which the parts of the S3 server know each other."""
    prefect_login: str = Field(default_factory=lambda: f"admin:{secrets.token_urlsafe(20)}")
    """User and password of the Prefect server's API and UI."""


def made_at_first_start(folder: Path) -> MadeAtFirstStart:
    """Those of the installation in `folder`; what it does not have yet is made."""
    file = folder / "made-at-first-start.json"
    known = json.loads(read_regular(file, LARGEST_BYTES)) if file.exists() else {}
    made = MadeAtFirstStart.model_validate(known)
    if set(known) != set(MadeAtFirstStart.model_fields):
        begun = file.with_suffix(".begun")
        begun.touch(mode=0o600)
        begun.write_text(made.model_dump_json(indent=2))
        begun.replace(file)
    return made
