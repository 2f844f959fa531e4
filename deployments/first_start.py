"""Ports and keys that a trial installation gets at its first start, and keeps."""

import json
import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from deployments.ports import free_ports, preferred
from deployments.s3_server import PORTS_NEEDED
from lib.errors import PermanentError
from lib.files import read_regular, write_private

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
    try:
        known = json.loads(read_regular(file, LARGEST_BYTES)) if file.exists() else {}
        made = MadeAtFirstStart.model_validate(known)
    except (RecursionError, ValueError):
        raise PermanentError(  # without what it says: keys and a password
            f"{file} must be as the first start wrote it; it is damaged: restore it, or remove {folder} with all that "
            "it holds"
        ) from None
    if set(known) != set(MadeAtFirstStart.model_fields):
        write_private(file, made.model_dump_json(indent=2))
    return made
