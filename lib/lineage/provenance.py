"""Who made an output: code, packages, Python, hardware. Recorded beside results, never part of their digests."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from lib.settings import REPOSITORY, read_settings

OTHER_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_CEILING")
PACKAGES = ("keras", "matplotlib", "numpy", "pandas", "prefect", "pyarrow", "scikit-learn", "tensorflow")


class Hardware(BaseModel):
    """The machine in a record; what stands there beside its CPU is kept."""

    model_config = ConfigDict(extra="allow")

    cpu: str


class Maker(BaseModel):
    """What the record of every output has, as it is read; outputs have more."""

    seconds: float
    commit: str | None
    uncommitted_changes: bool | None
    python: str
    packages: dict[str, str]
    hardware: Hardware
    resumed_on: list[dict[str, Any]] = []
    processor_seconds: float | None = None
    """This and what follows: None, or nothing, where it was not recorded."""
    peak_memory_bytes: int | None = None
    images_per_second: dict[str, float] = {}
    """By batch size, of the model that was evaluated."""
    flops: int | None = None
    """To classify one image, by the same."""


Makers = Mapping[str, Maker]
"""Of what is shown, by its address."""


@cache
def environment() -> dict[str, Any]:
    """Commit, packages, Python and hardware of this process; None for what is not known of the code."""
    commit, changes, _ = code()
    return {
        "commit": commit or read_settings().image_commit,
        "uncommitted_changes": changes,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "hardware": {"cpu": _cpu_model(), "cores": usable_cores(), "memory_gib": _memory_gib()},
    }


def usable_cores() -> int:
    """The cores that this process may use, or all of them where the system does not say (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def made_by(seconds: float, **more: Any) -> dict[str, Any]:
    """The record for a manifest of an output that took `seconds` to make and is done now."""
    return {
        **environment(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        **more,
    }


class Code(NamedTuple):
    """What git knows of this code."""

    commit: str | None
    uncommitted_changes: bool | None
    problem: str = ""
    """Why it knows nothing, and what to do."""


@cache
def code(repository: Path = REPOSITORY) -> Code:
    """The commit checked out in `repository`, not that of a repository around it."""
    try:
        top, commit = _git(repository, "rev-parse", "--show-toplevel", "HEAD").splitlines()
        if Path(top) != repository.resolve():
            return Code(None, None, f"the commit of {repository} is not known: it is not the root of a git repository")
        return Code(commit, bool(_git(repository, "status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return Code(None, None, f"the commit of {repository} is not known: {_why(error, repository)}")


def _git(repository: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    # Git itself sets GIT_DIR and others for the hooks that it runs: they would name another repository.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OTHER_REPOSITORY)}
    done = subprocess.run(command, cwd=repository, env=kept, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout


def _why(error: Exception, repository: Path) -> str:
    said = " ".join(str(getattr(error, "stderr", None) or error).split())
    if "dubious ownership" in said:
        return f"another user owns it; git config --global --add safe.directory {shlex.quote(str(repository))}"
    return f"{said}; set IMAGE_COMMIT where the code is no git repository"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory_gib() -> float:
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
