"""One Prefect server for all tests of flows, and the commands run as a person runs them."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session", autouse=True)
def prefect_api() -> Iterator[str]:
    """The address of a temporary server."""
    with prefect_test_harness(server_startup_timeout=180):
        yield str(PREFECT_API_URL.value())


class Commands:
    """Runs `python -m …` in the repository against the temporary server."""

    def __init__(self, api: str, cache: Path) -> None:
        self.environment = {
            **{
                k: v
                for k, v in os.environ.items()
                if not k.startswith("AWS_") and k not in {"ALLOW_CPU", "MIRROR_URL", "STORE_URI"}
            },
            "ENV_FILE": "",
            "PREFECT_API_URL": api,
            "RETRY_DELAYS_S": "[0, 0]",
            "CACHE_DIR": str(cache),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self, module: str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=REPOSITORY,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(
        self, module: str, *arguments: str, timeout_s: float = 280, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        process = self.start(module, *arguments, **environment)
        out, err = process.communicate(timeout=timeout_s)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture(scope="session")
def commands(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Commands:
    return Commands(prefect_api, tmp_path_factory.mktemp("cache"))


# Short, but long enough for a kill to land in its second epoch.
QUICK = ("--dataset", "digits", "--models", "digits-softmax", "--epochs", "3", "--set", "batch_size=8")


@pytest.fixture(scope="session")
def finished(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store that an undisturbed QUICK run has filled, and what it printed: one for all of pytest's workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "undisturbed"
    folder.mkdir(exist_ok=True)
    store, printed = folder / "store", folder / "printed"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            done = commands.run("flows.train", *QUICK, "--store", str(store))
            assert done.returncode == 0, done.stderr
            printed.write_text(done.stdout)
    return store, printed.read_text()
