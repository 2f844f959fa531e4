"""A trial stack for the tests that need one, deployed to, and told of by a webhook."""

import json
import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.configuration import FILE
from tests.conftest import DATASETS
from tests.running_stack import Run, RunningStack
from tests.strangers import become_nobody

QUICK = {"epochs": 3}
QUICK_SAID = ", at most 3 epochs"
"""What the names of such runs end with."""


class Webhook(ThreadingHTTPServer):
    """Keeps what it is told, and refuses what is not called JSON, as many do."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.told: list[dict[str, str]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_json = self.headers.get_content_type() == "application/json"
        if is_json:
            self.server.told.append(told)
        self.send_response(204 if is_json else 415)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="session")
def webhook() -> Iterator[Webhook]:
    with Webhook() as server:
        yield server
        server.shutdown()


@pytest.fixture(scope="session")
def stack(
    webhook: Webhook, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[RunningStack]:
    """`make stack` and `make deploy`. The real datasets are its mirror, where they are here; else it has none."""
    folder = tmp_path_factory.mktemp("stack")
    mirror = request.getfixturevalue("real_mirror") if DATASETS.is_dir() else folder.as_uri()
    running = RunningStack(folder, NOTIFY_WEBHOOK_URL=webhook.url, MIRROR_URL=mirror)
    try:
        running.start()
        running.deploy()
        yield running
        running.stop()
        assert running.printed[-1].startswith(("make: ", "Stopping", "error: interrupted")), running.printed
        assert not [line for line in running.printed if "Traceback" in line]
        assert not running.stack.processes()
        assert not running.stack.env_file.exists()
    finally:
        running.power_cut()


@pytest.fixture(scope="session")
def trained(stack: RunningStack) -> Run:
    """A finished run of train-all/digits."""
    run = stack.wait(stack.run("train-all/digits", **QUICK))
    assert run["state"]["type"] == "COMPLETED", run["state"]
    return run


def changed_configuration(folder: Path, name: str, **changes: Any) -> Path:
    """A copy of prefect.yaml in which train-all/digits is changed; a change to None removes the key."""
    told = yaml.safe_load(FILE.read_text())
    (digits,) = (each for each in told["deployments"] if each["name"] == "digits" and "train" in each["tags"])
    for key, value in changes.items():
        digits[key] = value
        if value is None:
            del digits[key]
    file = folder / name
    file.write_text(yaml.safe_dump(told))
    return file


def resume(stack: RunningStack, *arguments: str) -> None:
    """Deploy, and start the schedule of train-all/digits as that says."""
    (line,) = (line for line in stack.deploy(*arguments) if "train-all/digits: would run" in line)
    command = "--resume train-all/digits"
    assert line.endswith(f'; to start it: make deploy ARGS="{command}"')
    stack.deploy(*arguments, command)


@pytest.fixture
def stranger() -> Iterator[ProcessPoolExecutor]:
    """A process of another user, as far as we may start one; it knows no key."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork"), become_nobody) as pool:
        yield pool
