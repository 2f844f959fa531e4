"""Run a step in a process of its own.

Memory, GPU memory too, goes back when it ends; an out-of-memory kill takes one model and not the flow. For a recipe
that runs on a GPU it takes one of the machine's, or waits for it; for others it sees none. The job says what happens as
JSON lines on its output, and ends when its parent does: its input is then at an end.
"""

import json
import os
import pkgutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from pydantic import BaseModel, ConfigDict

from lib.errors import NoGpu, NotFound, PermanentError, PipelineError, TransientError
from lib.lineage.manifests import Ref
from lib.lineage.steps import STEPS
from lib.redaction import without_secrets
from lib.runtime import failures
from lib.runtime.failures import ASKED_TO_STOP, CTRL_C
from lib.runtime.gpus import no_gpu, one_gpu, visible_gpus
from lib.runtime.hardware import RunsOn, require_clock
from lib.runtime.interrupts import Interrupted, catch_signals
from lib.runtime.processes import JobProcess, start_job
from lib.settings import Settings
from lib.store import open_store

Event = dict[str, Any]
Emit = Callable[[Event], None]


def waits(emit: Emit) -> Callable[[str], None]:
    """Says that the job waits for another, which it is given the name of, to do the same work."""
    return lambda owner: emit({"event": "waiting", "for": owner})


def warns(emit: Emit) -> Callable[[str], None]:
    """Says a warning."""
    return lambda message: emit({"event": "warning", "message": message})


def notes(emit: Emit) -> Callable[[str], None]:
    """Says what nobody needs to act on."""
    return lambda message: emit({"event": "note", "message": message})


ERRORS = {kind.__name__: kind for kind in (PermanentError, TransientError, NotFound, NoGpu)}
LOG_LINES = 20
FAULT_OF_OURS = 1


class Job(BaseModel):
    """A step, by its kind in the table of steps, and its arguments; `runs_on` is what its recipe asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: str
    settings: Settings
    runs_on: RunsOn
    arguments: dict[str, Any]

    @property
    def process(self) -> str:
        """What messages call its process."""
        return f"the {STEPS[self.step].does.split()[0]} process"

    @property
    def advice(self) -> str:
        """What helps where it runs out of memory. Only a training has a batch that is a person's choice."""
        batch = self.arguments.get("recipe", {}).get("batch_size", 1) if self.step == "model" else 1
        smaller = f"lower the batch: --set batch_size={batch // 2}; or "
        return f"{smaller if batch > 1 else ''}{failures.MORE_MEMORY}"


def run_job(job: Job, on_event: Emit) -> Ref:
    """Run `job` to its end and return the ref of its output, passing on what it says.

    Raises the job's own error, or what `lib.runtime.failures` makes of its end. Whatever ends the wait, a Ctrl-C for
    one, ends the job too, after time to save its state.
    """

    oom_kills = failures.oom_kills()
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        elsewhere = job.model_copy(update={"settings": job.settings.seen_from_anywhere()})
        process = start_job(elsewhere.model_dump(mode="json"), log, job.settings.stop_within_s, notes(on_event))
        try:
            last = _follow(process, on_event)
        finally:
            process.end()
        code = process.returncode
        if code == CTRL_C:
            raise KeyboardInterrupt  # it reached the whole group; Prefect may have lost ours
        if last.get("event") == "done":
            return Ref.model_validate(last["ref"])
        if last.get("event") == "failed":
            raise ERRORS[last["kind"]](last["message"])
        log.seek(0)
        lines = [line for line in without_secrets(log.read()).splitlines() if line.strip()]
        if code == FAULT_OF_OURS:
            print("\n".join(lines[-LOG_LINES:]), file=sys.stderr)  # noqa: T201 - whoever mends it needs the traceback
        raise failures.of_process(
            job.process, code or 0, "\n".join(lines), failures.oom_kills() - oom_kills, job.advice
        )


def _follow(process: JobProcess, on_event: Emit) -> Event:
    """Pass on events until the output ends; the last one that says how it ended."""
    last: Event = {}
    for line in process.stdout:
        if not line.endswith("\n"):  # it was killed while it wrote
            break
        event = json.loads(line)
        if event["event"] in {"done", "failed"}:
            last = event
        else:
            on_event(event)
    process.wait()
    return last


def run(job: Job) -> int:
    """The job's side: run it, say how it ended, and return the exit code."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not end up among the events
    catch_signals()
    threading.Thread(target=_end_with_parent, args=[job.settings.stop_within_s], daemon=True).start()

    def emit(event: Event) -> None:
        _say(out, event)

    settings = job.settings
    try:
        require_clock()
        # Before the step loads TensorFlow, which keeps the GPUs that it finds.
        with one_gpu(visible_gpus(), warns(emit)) if job.runs_on == "gpu" else no_gpu():
            step = pkgutil.resolve_name(str(STEPS[job.step].job))
            ref = step(open_store(settings.store_uri, settings.cache_dir), settings, emit, **job.arguments)
        emit({"event": "done", "ref": ref.model_dump()})
    except Interrupted as stop:
        return CTRL_C if stop.args == (signal.SIGINT,) else ASKED_TO_STOP
    except Exception as raised:
        error = failures.of_exception(job.process, raised, job.advice)
        if error is None:
            traceback.print_exc()
            return FAULT_OF_OURS
        emit({"event": "failed", "kind": kind_of(error), "message": str(error)})
        return error.exit_code
    return 0


def kind_of(error: PipelineError) -> str:
    """The nearest of ERRORS that `error` is one of: what the flow's side raises."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in ERRORS)


def _say(out: TextIO, event: Event) -> None:
    with suppress(BrokenPipeError):  # the flow was killed: _end_with_parent ends this too, where it is safe
        out.write(json.dumps(event) + "\n")


def _end_with_parent(stop_within_s: float) -> None:
    while os.read(0, 1):  # not sys.stdin: a thread that waits there aborts the interpreter when it ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(stop_within_s)
    os._exit(ASKED_TO_STOP)
