"""A trial stack of its own, used as a person uses it: `make stack` and `make deploy`, then the `prefect` command."""

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from deployments.stack import Stack, kill_all
from lib.lineage.manifests import MANIFEST, Manifest
from lib.store import Store, open_store

REPOSITORY = Path(__file__).resolve().parents[1]
PREFECT = str(Path(sys.executable).with_name("prefect"))
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
Run = dict[str, Any]


def _in_its_terminal() -> None:
    """In the new process: its standard input is the terminal whose Ctrl-C and hang-up reach it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background job ignores Ctrl-C, and this may be one
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def overlap(first: Run, second: Run) -> bool:
    """Whether both were under way at some moment."""
    return bool(first["start_time"] < second["end_time"] and second["start_time"] < first["end_time"])


class RunningStack:
    """An installation in `folder`, as the commands see it."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.stack = Stack(folder / "stack", folder / "env")
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "PREFECT_")) and name not in {"ALLOW_CPU", "MIRROR_URL", "STORE_URI"}
        }
        self._environment = {**kept, "CACHE_DIR": str(folder / "cache"), **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._terminal, self._text = -1, ""

    def start(self) -> "RunningStack":
        """`make stack` in a terminal of its own; returns when it says where it is."""
        with (REPOSITORY / "Makefile").open() as alone:  # two that begin at once would both find the usual ports free
            fcntl.flock(alone, fcntl.LOCK_EX)
            return self._start()

    def _start(self) -> "RunningStack":
        options = f"--folder {self.stack.folder} --env-file {self.stack.env_file} --gpu-trainings 2"
        command = ["make", "stack", f"ARGS={options}"]
        self._terminal, theirs = pty.openpty()
        attributes = termios.tcgetattr(theirs)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(theirs, termios.TCSANOW, attributes)
        self._process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=self._environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_in_its_terminal,  # noqa: PLW1509
        )
        os.close(theirs)
        self._text = ""
        self.wait_until(lambda: self._is_up() or self._process.poll() is not None, "the stack to start", 240)
        assert self._is_up(), self._text
        return self

    @property
    def printed(self) -> list[str]:
        """Lines of the terminal so far."""
        while select.select([self._terminal], [], [], 0)[0]:
            try:
                self._text += os.read(self._terminal, 4096).decode(errors="replace")
            except OSError:  # all that wrote to it have ended
                break
        return self._text.splitlines()

    def _is_up(self) -> bool:
        return any("Ctrl-C ends all" in line for line in self.printed)

    def stop(self) -> int:
        """Ctrl-C. Returns make's exit code."""
        assert self._process
        os.write(self._terminal, b"\x03")
        return self._process.wait(120)

    def close_terminal(self) -> None:
        """As a window is closed: nobody reads any more, and its shell hangs up. Returns when the stack has ended."""
        assert self._process
        os.close(self._terminal)
        os.killpg(self._process.pid, signal.SIGHUP)
        self.wait_until(lambda: not self.stack.env_file.exists() and not self.stack.processes(), "its end", 120)

    def power_cut(self) -> None:
        """kill -9 of everything at once."""
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        while processes := self.stack.processes():
            kill_all(processes)
            time.sleep(0.1)

    @property
    def environment(self) -> dict[str, str]:
        """Of a terminal in which the stack's environment file was read."""
        return {**self._environment, **self.stack.reached_by()}

    def command(self, *words: str, **more: str) -> str:
        """Run it in such a terminal; returns what it printed."""
        done = subprocess.run(
            words, cwd=REPOSITORY, env={**self.environment, **more}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def deploy(self, *arguments: str, **more: str) -> list[str]:
        """`make deploy`; returns its lines."""
        words = [f"ARGS={' '.join(arguments)}", f"ENV_FILE={self.stack.env_file}"]
        return self.command("make", "--no-print-directory", "deploy", *words, **more).splitlines()

    def run(self, deployment: str, **parameters: Any) -> str:
        """`prefect deployment run`; returns the run's id."""
        given = [f"--param={name}={json.dumps(value)}" for name, value in parameters.items()]
        printed = self.command(PREFECT, "deployment", "run", deployment, *given)
        return next(line.split()[-1] for line in printed.splitlines() if "UUID:" in line)

    def post(self, path: str, **body: Any) -> Any:
        """Ask the server's API."""
        with self.api() as server:
            return server.post(path, json=body).raise_for_status().json()

    def api(self) -> httpx.Client:
        """The server's API, for one who knows the password."""
        user, password = self.environment["PREFECT_API_AUTH_STRING"].split(":")
        return httpx.Client(base_url=self.environment["PREFECT_API_URL"], auth=(user, password), timeout=30)

    def read(self, run: str) -> Run:
        with self.api() as server:
            return dict(server.get(f"flow_runs/{run}").raise_for_status().json())

    def runs(self, **wanted: Any) -> list[Run]:
        """All flow runs, the first started first; `wanted` is Prefect's filter."""
        return list(self.post("flow_runs/filter", flow_runs=wanted, sort="EXPECTED_START_TIME_ASC", limit=200))

    def children(self, run: str) -> list[Run]:
        """The runs that `run` has started on workers."""
        found = self.runs(parent_flow_run_id={"any_": [run]})
        return [each for each in found if each["deployment_id"]]

    def worker_of(self, run: str) -> str:
        """The worker that has run it, the last one if several have."""
        logs = self.post("logs/filter", logs={"flow_run_id": {"any_": [run]}}, sort="TIMESTAMP_ASC", limit=200)
        return [log["message"].split("'")[1] for log in logs if "submitting flow run" in log["message"]][-1]

    def wait(self, run: str, within_s: float = 300) -> Run:
        """Wait for its end for good, and return it."""
        self.wait_until(lambda: self._has_ended(run), f"the run {run} to end", within_s)
        return self.read(run)

    def _has_ended(self, run: str) -> bool:
        state = self.read(run)["state"]
        return state["type"] in FINAL - {"CRASHED"}

    def wait_until(self, what: Callable[[], object], name: str, within_s: float) -> Any:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            try:
                if found := what():
                    return found
            except httpx.HTTPError:  # the server may be down
                pass
            time.sleep(0.5)
        raise AssertionError(f"it took more than {within_s} s: {name}\n{self.logs()}")

    def logs(self) -> str:
        """The end of each program's."""
        files = sorted((self.stack.folder / "log").glob("*.log"))
        return "\n".join(f"== {file.name}\n{file.read_text(errors='replace')[-1500:]}" for file in files)

    def manifests(self, kind: str) -> dict[str, Manifest]:
        """Address → what is finished of `kind`."""
        store = self.store()
        found = [path for path in store.list(kind) if path.endswith(MANIFEST)]
        return {path.removesuffix(f"/{MANIFEST}"): Manifest.from_json(store.read(path)) for path in found}

    def store(self) -> Store:
        os.environ.update({name: value for name, value in self.stack.reached_by().items() if name.startswith("AWS_")})
        return open_store(self.environment["STORE_URI"], self.folder / f"cache-{time.monotonic_ns()}")
