"""Faults of a whole installation: of its worker, its server, its database, or of all at once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from deployments.stack import kill_all
from lib.store import Store
from tests.faults.rows import IN_EPOCH_2
from tests.faults.scene import BEGINS, ENVIRONMENT
from tests.job_processes import jobs_under
from tests.running_stack import RunningStack

ASKED = {"models": ["digits-cnn"], "limit": 1200, "epochs": 3, "overrides": {"batch_size": "12"}}
"""The same training as scene.TRAINING."""
SETTINGS = {
    "CHECKPOINT_INTERVAL_S": "0",
    "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "DEBUG",
    "RETRY_DELAYS_S": "[0, 1]",
}
KINDS = ("datasets", "prepared", "checkpoints", "models", "evaluations", "reports")
PATIENCE_S = 900


class Installation(RunningStack):
    """A stack whose store is emptied before each fault, and what its workers have logged since."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        super().__init__(folder, **SETTINGS)
        self._seen: dict[Path, int] = {}

    def begin(self, lost_after_s: float | None = None) -> "Installation":
        """Start train-all/digits on an empty store; a silent run counts as lost after so long, or after the default."""
        store = self.store()
        for kind in KINDS:
            for path in store.list(kind):
                store.delete(path)
        self._seen = {file: file.stat().st_size for file in self._logs()}
        self.deploy(**({"LOST_AFTER_S": str(lost_after_s)} if lost_after_s else {}))
        self.train_all = self.run("train-all/digits", **ASKED)
        return self

    def until(self, text: str) -> "Installation":
        """Wait until a worker's log has `text` in it."""
        self.wait_until(lambda: text in self._logged(), text, PATIENCE_S)
        return self

    def end(self) -> str:
        """Wait for the end of train-all/digits; returns what it said, and nothing where it completed."""
        state = self.wait(self.train_all, PATIENCE_S)["state"]
        return "" if state["type"] == "COMPLETED" else f"{state['name']}: {state['message']}\n{self.logs()}"

    def kill(self, what: Callable[[psutil.Process], bool]) -> "Installation":
        """kill -9 of the processes that are `what`, and of all that they have started."""
        kill_all([each for one in self._that_are(what) for each in (one, *one.children(recursive=True))])
        return self

    def terminate(self, what: Callable[[psutil.Process], bool]) -> "Installation":
        """SIGTERM to the processes that are `what`, and to them alone."""
        for process in self._that_are(what):
            process.terminate()
        return self

    def _that_are(self, what: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
        found = [process for process in self.stack.processes() if _is(process, what)]
        assert found, "there is none"
        return found

    def store(self) -> Store:
        with ENVIRONMENT:
            return super().store()

    def chunks_lost(self) -> int:
        begun = BEGINS.findall(self._logged())
        return len(begun) - len(set(begun))

    def _logs(self) -> list[Path]:
        return sorted((self.stack.folder / "log").glob("cpu-*.log"))

    def _logged(self) -> str:
        said = b"".join(file.read_bytes()[self._seen.get(file, 0) :] for file in self._logs())
        return said.decode(errors="replace")


@dataclass(frozen=True)
class StackRow:
    """A fault, where it is injected; the run must complete with every bit equal."""

    fault: str
    where: str
    inject: Callable[[Installation], str]
    chunks: int = 1
    """At most so many may be lost."""


STACK_ROWS: list[StackRow] = []


def row(fault: str, where: str, chunks: int = 1) -> Callable[[Callable[[Installation], str]], None]:
    return lambda inject: STACK_ROWS.append(StackRow(fault, where, inject, chunks))


@row("kill -9 of a worker, its flow and trainer", "in epoch 2, on an installation")
def _(installation: Installation) -> str:
    return installation.begin(lost_after_s=90).until(IN_EPOCH_2).kill(is_training_worker).end()


@row("kill -9 of a flow and its trainer, on a worker that lives", "in epoch 2, on an installation")
def _(installation: Installation) -> str:
    return installation.begin().until(IN_EPOCH_2).kill(is_training_flow).end()


@row("SIGTERM to a worker", "in epoch 2, on an installation", chunks=0)
def _(installation: Installation) -> str:
    return installation.begin(lost_after_s=90).until(IN_EPOCH_2).terminate(is_waiting_for_a_training).end()


@row("kill -9 of the Prefect server", "in epoch 2, on an installation")
def _(installation: Installation) -> str:
    return installation.begin().until(IN_EPOCH_2).kill(is_server).end()


@row("kill -9 of PostgreSQL", "in epoch 2, on an installation")
def _(installation: Installation) -> str:
    return installation.begin().until(IN_EPOCH_2).kill(is_database).end()


@row("power cut: kill -9 of all of an installation, then `make stack`", "in epoch 2, on an installation")
def _(installation: Installation) -> str:
    # Not `lost_after_s=90`: a server that has started anew needs more than 300 (`deployments.automations`).
    installation.begin().until(IN_EPOCH_2).power_cut()
    installation.start()
    return installation.end()


def _is(process: psutil.Process, what: Callable[[psutil.Process], bool]) -> bool:
    try:
        return what(process)
    except psutil.NoSuchProcess:
        return False


def is_training_worker(process: psutil.Process) -> bool:
    """Prefect's worker on which a training is under way."""
    return "worker" in process.cmdline() and _has_training(process)


def is_training_flow(process: psutil.Process) -> bool:
    """The run of train-model that waits for its training."""
    return "prefect.engine" in process.cmdline() and _has_training(process)


def is_waiting_for_a_training(process: psutil.Process) -> bool:
    """The process above Prefect's worker, which ends after its training."""
    return "deployments.worker" in process.cmdline() and _has_training(process)


def _has_training(process: psutil.Process) -> bool:
    return bool(jobs_under(process.pid))


def is_server(process: psutil.Process) -> bool:
    return process.cmdline()[1:4] == [str(Path(process.cmdline()[0]).with_name("prefect")), "server", "start"]


def is_database(process: psutil.Process) -> bool:
    """The first of PostgreSQL's processes, which has started all others."""
    return process.name() == "postgres" and "-D" in process.cmdline()
