"""Where a fault is injected: a run of the flow, or of its steps alone, on a store of its own, watched line by line."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lib.errors import PipelineError
from lib.lineage.manifests import MANIFEST, Manifest, Ref
from lib.store import LocalStore, Store, open_store
from tests.faults.proxy import Proxy
from tests.job_processes import job_of
from tests.s3_server import S3Server

REPOSITORY = Path(__file__).resolve().parents[2]
TRAINING = (
    "--dataset", "digits", "--models", "digits-cnn", "--limit", "1200", "--epochs", "3", "--set", "batch_size=12",
)  # fmt: skip
FLOW, STEPS = "flows.train", "tests.faults.steps"
CHUNKS = 6
"""Of TRAINING: 3 epochs of 100 steps, in chunks of 50."""
BEGINS = re.compile(r"begins with step \d+ of epoch \d+")
PATIENCE_S = 400
ENVIRONMENT = threading.Lock()
"""The servers of several scenes are found by one environment, as their clients are made."""


class Run:
    """A command that runs, and what it has said so far."""

    def __init__(
        self,
        environment: dict[str, str],
        command: tuple[str, ...],
        limits: Callable[[], None] = lambda: None,
        within: tuple[str, ...] = (),
    ) -> None:
        """`within`: a command that runs the command."""
        self.lines: list[str] = []
        self.times: list[float] = []
        """Of each line, by a monotonic clock."""
        self.process = subprocess.Popen(
            [*within, sys.executable, "-m", *command],
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=limits,  # noqa: PLW1509 - it sets limits, no more
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.times.append(time.monotonic())
            self.lines.append(line.rstrip())

    def begun(self) -> list[str]:
        """The chunks that it has begun: `begins with step 51 of epoch 2`.

        A line that comes again with its time is one: where Ctrl-C meets Rich in its write, Rich writes it once more.
        """
        return [place[0] for line in dict.fromkeys(list(self.lines)) if (place := BEGINS.search(line))]

    def until(self, text: str, within_s: float = PATIENCE_S) -> "Run":
        """Wait until a line has `text` in it."""
        wait_for(lambda: any(text in line for line in list(self.lines)) or self.has_ended(), text, within_s)
        assert any(text in line for line in list(self.lines)), f"it ended without {text!r}:\n{self.said()}"
        return self

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def job(self) -> int:
        """The process id of the training or evaluation process."""
        return wait_for(lambda: job_of(self.process.pid), "a job's process")

    def signal(self, number: int) -> "Run":
        """To the flow's process alone."""
        self.process.send_signal(number)
        return self

    def signal_all(self, number: int) -> "Run":
        """To the flow and its training process at once, as a terminal's Ctrl-C does."""
        os.killpg(self.process.pid, number)
        return self

    def end(self) -> "Run":
        """Wait for the flow's end, and for that of its training process."""
        self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return self

    @property
    def code(self) -> int:
        return self.process.returncode

    @property
    def error(self) -> str:
        """What the error line says."""
        return next((line.removeprefix("error: ") for line in reversed(self.lines) if line.startswith("error: ")), "")

    def said(self) -> str:
        return "\n".join(line for line in self.lines[-40:] if "DEBUG" not in line)


@dataclass
class Scene:
    """A store that holds the prepared data, the server and proxy before it, and the runs that were started."""

    folder: Path
    uri: str
    server: S3Server
    proxy: Proxy
    environment: dict[str, str]
    checkpoints: str
    """Where the model's training state lies."""
    module: str
    """What is started: the flow, or the steps alone."""
    runs: list[Run] = field(default_factory=list)
    changed: str = "no file was changed"
    """The file that `change` damaged."""

    def start(
        self,
        *options: str,
        training: tuple[str, ...] = TRAINING,
        limits: Callable[[], None] = lambda: None,
        within: tuple[str, ...] = (),
        **more: str,
    ) -> Run:
        """Start `training`, with more options or another environment."""
        environment = {**self.environment, "STORE_URI": self.uri, **more}
        self.runs.append(run := Run(environment, (self.module, *training, *options), limits, within))
        return run

    def command(self, *words: str) -> Run:
        """Start another command on the same store."""
        self.runs.append(run := Run({**self.environment, "STORE_URI": self.uri}, words))
        return run

    def store(self) -> Store:
        """Read past the proxy, and past any cache."""
        if not self.uri.startswith("s3://"):
            return LocalStore(Path(self.uri))
        with ENVIRONMENT:
            os.environ.update(self.server.environment())
            return open_store(self.uri, self.folder / f"cache-{time.monotonic_ns()}")

    def chunks_lost(self) -> int:
        """How many chunks were begun more than once, over all runs: that under way when it was killed, and others."""
        begun = [place for run in self.runs for place in run.begun()]
        return len(begun) - len(set(begun))

    def change(self, glob: str, change: Callable[[bytes], bytes | None]) -> None:
        """Change, or remove, the last file of the store that matches."""
        store = self.store()
        path = [path for path in store.list(glob.split("/", maxsplit=1)[0]) if Path(path).match(glob)][-1]
        changed, self.changed = change(store.read(path)), path
        if changed is None:
            store.delete(path)
        else:
            store.write(path, changed)

    def close(self) -> None:
        for run in self.runs:
            if run.process.poll() is None:
                run.signal_all(signal.SIGCONT).signal_all(signal.SIGKILL).end()
        shutil.rmtree(self.folder, ignore_errors=True)


def outputs(store: Store) -> dict[str, tuple[Ref, str | None]]:
    """Address → ref, and for a model the digest of all its training's variables."""
    manifests = {address: Manifest.from_json(store.read(f"{address}/{MANIFEST}")) for address in addresses(store)}
    return {address: (each.ref(address), each.made_by.get("last_state")) for address, each in manifests.items()}


def addresses(store: Store) -> list[str]:
    """Of all that is finished."""
    kinds = ("datasets", "prepared", "models", "evaluations", "reports")
    paths = [path for kind in kinds for path in store.list(kind)]
    return [path.removesuffix(f"/{MANIFEST}") for path in paths if path.endswith(f"/{MANIFEST}")]


def broken(store: Store, check: Callable[[Store, str], object]) -> list[str]:
    """What `check` says of each output that does not hold."""
    problems = []
    for address in addresses(store):
        try:
            check(store, address)
        except PipelineError as error:
            problems.append(str(error))
    return problems


def wait_for(what: Callable[[], object], name: str, within_s: float = PATIENCE_S) -> "object":
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError(f"it took more than {within_s} s: {name}")


@contextmanager
def closing(scene: Scene) -> Iterator[Scene]:
    try:
        yield scene
    finally:
        scene.proxy.faults = []
        scene.close()
