"""Jobs are forked from one process, and each has all that a process of its own gives."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lib.errors import PermanentError, TransientError
from lib.runtime import processes
from lib.runtime.interrupts import stop_signals
from lib.runtime.jobs import Event, Job, run_job
from lib.settings import REPOSITORY, Settings
from tests.job_processes import job_of

ONE_STEP = """
import dataclasses
from lib.lineage import steps
only = dataclasses.replace(steps.STEPS["model"], job="a_step:run")
steps.STEPS.clear()
steps.STEPS["model"] = only
"""
STEP = """
import os, signal, time
from lib.errors import PermanentError
from lib.lineage.manifests import Ref
from lib.runtime.interrupts import Interrupted

loaded_by = os.getpid()
allocated = []

def run(store, settings, emit, *, does):
    begun = {"event": "begun", "pid": os.getpid(), "parent": os.getppid(), "loaded_by": loaded_by}
    try:
        emit(begun)
        time.sleep(60 if does == "wait" else 0)
    except Interrupted:
        emit({"event": "stopped"})
        raise
    if does == "fail":
        raise PermanentError("it cannot be")
    if does == "crash":
        raise ZeroDivisionError("a fault of ours")
    if does == "allocate":
        allocated.append(bytes(300_000_000))
    if does == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        emit({"event": "hanging", "pid": os.getpid()})
        time.sleep(60)
    return Ref(uri=f"done/{os.getpid()}", sha256=64 * "0")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where Python finds STEP, the only step there is."""
    folder = tmp_path_factory.mktemp("one-step")
    (folder / "sitecustomize.py").write_text(ONE_STEP)
    (folder / "a_step.py").write_text(STEP)
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # of tests that nohup has started, jobs would ignore it
    yield folder
    signal.signal(signal.SIGHUP, before)
    for server in processes._servers:
        server.close()
    processes._servers.clear()


@pytest.fixture(autouse=True)
def one_step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork server that loads no TensorFlow: the environment is the same in each test, and so it is one."""
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{REPOSITORY}")
    monkeypatch.setenv("CACHE_DIR", str(folder))


def run(does: str, on_event: Callable[[Event], None] = lambda event: None, settings: Settings | None = None) -> str:
    """The address of the job's output: it says the process that made it."""
    job = Job(step="model", settings=settings or Settings(), runs_on="cpu", arguments={"does": does})
    return run_job(job, on_event).uri


def kill(number: int) -> Callable[[Event], None]:
    return lambda event: os.kill(event["pid"], number) if event["event"] == "begun" else None


def test_jobs_come_from_one_process_that_has_loaded_their_step_once() -> None:
    told: list[Event] = []
    first, second = run("succeed", told.append), run("succeed", told.append)
    assert [first, second] == [f"done/{event['pid']}" for event in told]
    assert len({event["pid"] for event in told}) == 2
    assert {event["parent"] for event in told} == {event["loaded_by"] for event in told}
    assert len({event["parent"] for event in told}) == 1


def test_memory_goes_back_as_a_job_ends() -> None:
    told: list[Event] = []
    run("allocate", told.append)
    assert psutil.Process(told[0]["parent"]).memory_info().rss < 300_000_000


def test_a_job_says_itself_why_it_failed_and_a_fault_of_ours_shows_its_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(PermanentError, match=r"^it cannot be$"):
        run("fail")
    with pytest.raises(PermanentError, match=r"^the train process ended with code 1: ZeroDivisionError: a fault"):
        run("crash")
    assert "Traceback" in capsys.readouterr().err


def test_a_killed_job_counts_as_killed_and_the_next_comes_from_the_same_process() -> None:
    told: list[Event] = []
    run("succeed", told.append)
    with pytest.raises(TransientError, match=r"^the train process was killed by SIGKILL"):
        run("wait", kill(signal.SIGKILL))
    run("succeed", told.append)
    assert told[0]["parent"] == told[1]["parent"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_job_that_is_asked_to_stop_saves_its_state_first(number: signal.Signals) -> None:
    told: list[str] = []

    def stop(event: Event) -> None:
        told.append(event["event"])
        kill(number)(event)

    with pytest.raises(TransientError, match="was asked to stop and saved its state"):
        run("wait", stop)
    assert told == ["begun", "stopped"]


@pytest.mark.parametrize(
    ("number", "ends"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGHUP, TransientError)], ids=["Ctrl-C", "SIGHUP"]
)
def test_what_a_terminal_sends_reaches_the_job_and_leaves_the_process_it_came_from(
    number: signal.Signals, ends: type[BaseException]
) -> None:
    told: list[Event] = []
    run("succeed", told.append)
    os.kill(told[0]["parent"], number)
    with pytest.raises(ends):
        run("wait", kill(number))
    run("succeed", told.append)
    assert told[0]["parent"] == told[1]["parent"]


def test_a_process_of_nohup_is_not_asked_to_stop_by_the_end_of_its_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert stop_signals() == [signal.SIGTERM, signal.SIGINT]
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert stop_signals() == [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
def test_a_job_that_does_not_stop_in_time_is_killed() -> None:
    seen: list[int] = []

    def give_up(event: Event) -> None:
        if event["event"] == "hanging":
            seen.append(event["pid"])
            raise RuntimeError("whoever waited gives up")

    with pytest.raises(RuntimeError, match="gives up"):
        run("hang", give_up, Settings(stop_within_s=0.5))
    assert not psutil.pid_exists(seen[0])


@pytest.mark.slow
def test_where_the_process_that_forks_was_killed_another_is_started() -> None:
    told: list[Event] = []
    with pytest.raises(TransientError, match="the train process was killed by SIGKILL"):
        run("wait", lambda event: [os.kill(event[name], signal.SIGKILL) for name in ("parent", "pid")])  # type: ignore[func-returns-value]
    run("succeed", told.append)
    run("succeed", told.append)
    assert told[0]["parent"] == told[1]["parent"]


@pytest.mark.slow
def test_so_it_is_where_its_end_is_not_seen_before_a_job_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Event] = []
    run("succeed", told.append)
    monkeypatch.setattr(processes.ForkServer, "is_alive", True)
    os.kill(told[0]["parent"], signal.SIGKILL)
    run("succeed", told.append)
    assert told[0]["parent"] != told[1]["parent"]


@pytest.mark.slow
def test_a_changed_environment_has_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Event] = []
    run("succeed", told.append)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    run("succeed", told.append)
    assert [event["event"] for event in told] == ["begun", "begun"], "what is recorded needs no note"
    assert told[0]["parent"] != told[1]["parent"]
    psutil.wait_procs([psutil.Process(pid) for pid in [told[0]["parent"]] if psutil.pid_exists(pid)], timeout=10)
    assert not psutil.pid_exists(told[0]["parent"])


def test_what_a_job_ignores_of_its_environment_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_auto_jit=2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    told: list[Event] = []
    run("succeed", told.append)
    run("succeed", told.append)
    assert [event["event"] for event in told] == ["note", "begun", "begun"]
    assert told[0]["message"] == (
        "ignores OMP_NUM_THREADS, TF_XLA_FLAGS in the environment: results must not depend on it; "
        "TF_NUM_INTRAOP_THREADS sets the number of threads"
    )
    variables = psutil.Process(told[1]["parent"]).environ()
    assert variables["KERAS_BACKEND"] == "tensorflow"
    assert not {"TF_XLA_FLAGS", "OMP_NUM_THREADS"} & set(variables)


def test_of_steps_that_need_no_tensorflow_none_loads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "")  # all steps that there are
    look = "print([name in sys.modules for name in ('lib.data.prepare', 'tensorflow', 'sklearn')])"
    code = f"import sys; from lib.runtime import fork_server; fork_server._load('prepared'); {look}"
    said = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    assert said.stdout == "[True, False, False]\n"


FLOW = """
import sys
from lib.runtime.jobs import Job, run_job
from lib.settings import Settings
job = Job(step="model", settings=Settings(), runs_on="cpu", arguments={"does": "wait"})
run_job(job, lambda event: print(event["pid"], event["parent"], flush=True))
"""


@pytest.mark.slow
def test_where_its_flow_was_killed_the_job_ends_and_then_the_process_it_came_from() -> None:
    flow = psutil.Popen([sys.executable, "-c", FLOW], cwd=REPOSITORY, stdout=-1)
    job, server = map(psutil.Process, map(int, flow.stdout.readline().split()))
    assert job_of(flow.pid) == job.pid
    flow.kill()
    flow.wait()
    _, alive = psutil.wait_procs([job, server], timeout=10)
    assert alive == []
