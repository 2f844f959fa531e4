"""Who made an output: code, packages, Python, hardware. Recorded beside results, never part of their digests."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from lib.settings import REPOSITORY, read_settings

PACKAGES = ("keras", "matplotlib", "numpy", "pandas", "prefect", "pyarrow", "scikit-learn", "tensorflow")


@cache
def environment() -> dict[str, Any]:
    """Commit, packages, Python and hardware of this process."""
    return {
        "commit": _git("rev-parse", "HEAD") or read_settings().image_commit,
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
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


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory_gib() -> float:
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
