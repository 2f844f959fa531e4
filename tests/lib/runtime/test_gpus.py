"""One GPU a process, on machines whose GPUs are pretended."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lib.errors import PermanentError
from lib.runtime.gpus import one_gpu, visible_gpus
from lib.runtime.jobs import Job
from lib.settings import Settings

HOLD = """
import os, sys
from pathlib import Path
from lib.errors import PermanentError
from lib.runtime.gpus import one_gpu, visible_gpus

devices, locks = map(Path, sys.argv[1:])
with one_gpu(visible_gpus(devices), print, locks) as gpu:
    print(gpu, os.environ["CUDA_VISIBLE_DEVICES"])
    sys.stdin.read()
"""
JOB = """
import dataclasses, functools, sys
from pathlib import Path
from lib.runtime import jobs

gpus, job, locks = map(Path, sys.argv[1:])
jobs.visible_gpus = lambda: gpus.read_text().split()
jobs.one_gpu = functools.partial(jobs.one_gpu, locks=locks)
jobs.STEPS["model"] = dataclasses.replace(jobs.STEPS["model"], job="pretended_step:run")
sys.exit(jobs.run(jobs.Job.model_validate_json(job.read_text())))
"""
PRETENDED_STEP = """
import os
from lib.lineage.manifests import Ref

AT_IMPORT = os.environ["CUDA_VISIBLE_DEVICES"]

def run(store, settings, emit):
    return Ref(uri=f"seen/{AT_IMPORT}", sha256=64 * "0")
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def no_choice_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    """A /dev with two GPUs."""
    folder = tmp_path / "dev"
    folder.mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (folder / name).touch()
    return folder


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    return tmp_path / "locks"


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a Python program; those that still run at the end are killed."""
    started: list[subprocess.Popen[str]] = []

    def start_one(program: str, *arguments: Path, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", program, *map(str, arguments)],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def next_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def fail(said: str) -> None:
    raise AssertionError(said)


def test_gpus_are_counted_as_cuda_counts_them(devices: Path) -> None:
    assert visible_gpus(devices) == ["0", "1"]
    (devices / "nvidia0").unlink()
    assert visible_gpus(devices) == ["0"], "a container whose only GPU is nvidia1"


def test_windows_gpu_counts_as_one(tmp_path: Path) -> None:
    (tmp_path / "dxg").touch()
    assert visible_gpus(tmp_path) == ["0"]


@pytest.mark.parametrize(
    ("chosen", "gpus"),
    [
        ("", []),
        ("-1", []),
        ("2,5", ["2", "5"]),
        ("1, 0", ["1", "0"]),
        ("0,-1,1", ["0"]),
        ("3,,1", ["3"]),
        ("GPU-3f2a,MIG-GPU-3f2a/1/0", ["GPU-3f2a", "MIG-GPU-3f2a/1/0"]),
    ],
)
def test_a_choice_of_gpus_is_kept_up_to_what_cuda_stops_at(
    devices: Path, monkeypatch: pytest.MonkeyPatch, chosen: str, gpus: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert visible_gpus(devices) == gpus


def test_where_no_gpu_is_none_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert visible_gpus(tmp_path) == []


def test_without_gpus_there_is_nothing_to_wait_for(locks: Path) -> None:
    with one_gpu([], fail, locks) as gpu:
        assert gpu is None
        assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert not locks.exists()


@pytest.mark.parametrize("before", [None, "0,1"])
def test_cuda_sees_the_gpu_that_is_held_and_afterwards_what_it_saw_before(
    locks: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    if before:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
    for _ in range(2):
        with suppress(ZeroDivisionError), one_gpu(["1", "0"], fail, locks) as gpu:
            assert gpu == os.environ["CUDA_VISIBLE_DEVICES"] == "1"
            _ = 1 / 0
        assert os.environ.get("CUDA_VISIBLE_DEVICES") == before


def test_gpus_whose_ids_are_no_file_names_are_held_apart(locks: Path) -> None:
    parts = ["MIG-GPU-3f2a/1/0", "MIG-GPU-3f2a/2/0", ".."]
    with (
        one_gpu(parts, fail, locks) as first,
        one_gpu(parts, fail, locks) as second,
        one_gpu(parts, fail, locks) as last,
    ):
        assert [first, second, last] == parts
        assert {file.parent for file in locks.rglob("*")} == {locks}


def test_the_locks_are_of_this_user_alone_and_lie_where_no_setting_moves_them(locks: Path) -> None:
    with one_gpu(["0"], fail, locks):
        assert stat.filemode(locks.stat().st_mode) == "drwx------"
    code = "from lib.runtime import gpus; print(gpus.LOCKS)"
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(locks)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == f"/tmp/image-training-flows-gpus-{os.getuid()}\n"


@pytest.mark.parametrize("kind", ["another user's folder", "a link", "a file"])
def test_locks_that_another_may_hold_are_refused(kind: str, locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "another user's folder":
        locks.mkdir()
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    elif kind == "a link":
        locks.symlink_to(locks.parent)
    else:
        locks.touch()
    with pytest.raises(
        PermanentError, match=r"locks must be a folder of this user, for locks on GPUs; received another"
    ):
        with one_gpu(["0"], fail, locks):
            raise AssertionError("it was held")


def test_each_process_has_a_gpu_and_one_more_waits_until_one_is_killed(
    start: Start, devices: Path, locks: Path
) -> None:
    first = start(HOLD, devices, locks)
    assert next_line(first) == "0 0"
    second = start(HOLD, devices, locks)
    assert next_line(second) == "1 1"
    third = start(HOLD, devices, locks)
    assert next_line(third) == "waits for a GPU: all that it may use (0, 1) are taken"
    os.kill(second.pid, signal.SIGKILL)
    assert next_line(third) == "1 1"
    assert first.poll() is None


def test_of_many_that_wait_one_at_a_time_has_the_gpu_and_each_is_told_once(
    locks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.runtime.gpus.POLL_S", 0.01)
    at_work, most, done = 0, 0, 0
    told: list[str] = []

    def work() -> None:
        nonlocal at_work, most, done
        with one_gpu(["0"], told.append, locks):
            at_work += 1
            most = max(most, at_work)
            time.sleep(0.05)
            at_work -= 1
            done += 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    with one_gpu(["0"], fail, locks):
        for thread in threads:
            thread.start()
        while len(told) < 3:
            time.sleep(0.01)
        assert at_work == 0
    for thread in threads:
        thread.join(10)
    assert (most, done) == (1, 3)
    assert told == 3 * ["waits for a GPU: all that it may use (0) are taken"]


@pytest.fixture
def job(tmp_path: Path) -> tuple[Path, Path, dict[str, str]]:
    """Of a job whose step says what it saw: its GPUs, its file and its environment."""
    (tmp_path / "gpus").write_text("0 1")
    (tmp_path / "pretended_step.py").write_text(PRETENDED_STEP)
    told = Job(step="model", settings=Settings(store_uri=str(tmp_path / "store")), runs_on="gpu", arguments={})
    (tmp_path / "job.json").write_text(told.model_dump_json())
    return tmp_path / "gpus", tmp_path / "job.json", {"PYTHONPATH": str(tmp_path)}


def test_a_job_has_one_gpu_before_its_step_loads_tensorflow(
    start: Start, job: tuple[Path, Path, dict[str, str]], locks: Path
) -> None:
    gpus, file, environment = job
    with one_gpu(["0"], fail, locks):
        said = json.loads(next_line(start(JOB, gpus, file, locks, **environment)))
    assert said == {"event": "done", "ref": {"uri": "seen/1", "sha256": 64 * "0"}}


def test_a_job_for_a_cpu_sees_no_gpu_and_waits_for_none(
    start: Start, job: tuple[Path, Path, dict[str, str]], locks: Path
) -> None:
    gpus, file, environment = job
    file.write_text(json.dumps({**json.loads(file.read_text()), "runs_on": "cpu"}))
    gpus.write_text("0")
    with one_gpu(["0"], fail, locks):
        said = json.loads(next_line(start(JOB, gpus, file, locks, **environment)))
    assert said == {"event": "done", "ref": {"uri": "seen/-1", "sha256": 64 * "0"}}


def test_a_job_that_waits_for_a_gpu_says_so_and_can_be_stopped(
    start: Start, job: tuple[Path, Path, dict[str, str]], locks: Path
) -> None:
    gpus, file, environment = job
    gpus.write_text("0")
    with one_gpu(["0"], fail, locks):
        waiting = start(JOB, gpus, file, locks, **environment)
        assert json.loads(next_line(waiting)) == {
            "event": "warning",
            "message": "waits for a GPU: all that it may use (0) are taken",
        }
        waiting.terminate()
        assert waiting.wait(5) == 75
