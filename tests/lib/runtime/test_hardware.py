"""Whether a recipe can run here, told without TensorFlow."""

import os
import shutil
import subprocess
import sys
import threading
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lib.errors import NoGpu, PermanentError
from lib.runtime.hardware import can_run_here, has_gpu, require_clock, require_hardware, require_threads
from lib.settings import REPOSITORY

AS_NOBODY = (
    "setpriv",
    "--reuid",
    "65534",
    "--clear-groups",
    "--inh-caps",
    "+dac_override",
    "--ambient-caps",
    "+dac_override",
)
"""For root no limit of processes holds; its files can be read."""


@pytest.mark.parametrize(("year", "says"), [(1970, "it says 02 March 1970; set it"), (2019, "2019"), (2026, "")])
def test_a_clock_that_has_lost_its_battery_is_named(year: int, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Clock":
            return cls(year, 3, 2, tzinfo=UTC)

    monkeypatch.setattr("lib.runtime.hardware.datetime", Clock)
    with pytest.raises(PermanentError, match=says) if says else nullcontext():
        require_clock()


@pytest.fixture(autouse=True)
def no_choice_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_gpu_is_there_where_its_device_is(tmp_path: Path) -> None:
    (tmp_path / "nvidiactl").touch()
    assert not has_gpu(tmp_path), "the driver alone is no GPU"
    (tmp_path / "nvidia0").touch()
    assert has_gpu(tmp_path)


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_hidden_gpu_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    (tmp_path / "nvidia0").touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert not has_gpu(tmp_path)


def test_a_gpu_recipe_is_refused_without_one_unless_a_cpu_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with pytest.raises(NoGpu, match=r"^resnet50 runs on a GPU and this machine has none; --allow-cpu \(ALLOW_CPU=1\)"):
        require_hardware("resnet50", "gpu", allow_cpu=False)
    require_hardware("resnet50", "gpu", allow_cpu=True)
    require_hardware("cifar-cnn", "cpu", allow_cpu=False)
    assert (can_run_here("gpu", False), can_run_here("gpu", True), can_run_here("cpu", False)) == (False, True, True)


def test_on_a_worker_the_refusal_names_its_pool_and_what_to_set_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with pytest.raises(NoGpu) as refusal:
        require_hardware("resnet50", "gpu", allow_cpu=False, pool="gpu")
    assert str(refusal.value) == (
        "resnet50 runs on a GPU and this worker of the pool gpu has none; start it on a machine with one, "
        "or set ALLOW_CPU=1 in its environment to train there without, slowly"
    )
    require_hardware("resnet50", "gpu", allow_cpu=True, pool="gpu")


def test_so_many_threads_can_be_started_and_none_is_left() -> None:
    before = threading.active_count()
    require_threads()
    assert threading.active_count() == before


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs a user without other processes")
@pytest.mark.parametrize("limit", [8, 12, 20])
def test_a_run_that_may_not_start_its_threads_ends_before_it_begins_and_says_so_last(
    limit: int, tmp_path: Path
) -> None:
    (store := tmp_path / "store").mkdir(mode=0o777)
    run = f"ulimit -u {limit}; {sys.executable} -m flows.ingest --store {store}"
    done = subprocess.run([*AS_NOBODY, "bash", "-c", run], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[1:] == [
        "error: this run could not start a thread or a process; raise the limit of this user's processes and threads "
        f"(ulimit -u, which is {limit}), or that of the container"
    ]
