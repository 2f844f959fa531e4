"""A job whose flow was killed ends as one that was asked to stop: at the next safe place, not in the middle."""

import subprocess
import sys
from pathlib import Path

import pytest

from lib.data.ingest import ingest
from lib.errors import InTheWay, NoGpu, PipelineError, TooLarge, TransientError
from lib.lineage.manifests import OtherVersion
from lib.runtime import failures
from lib.runtime.failures import MORE_MEMORY
from lib.runtime.jobs import Job, kind_of, run_job
from lib.settings import REPOSITORY, Settings
from lib.store import LocalStore
from tests.toy import SPEC, mirror

STEP = """
import time
from pathlib import Path

from lib.runtime.interrupts import Interrupted, deferred_interrupts

def run(store, settings, emit, *, said):
    done = 0
    try:
        while True:
            with deferred_interrupts():
                for _ in range(10):
                    emit({"event": "progress", "step": 1})
                    time.sleep(0.05)
                done += 1
    except Interrupted:
        emit({"event": "stopped", "step": done})
        Path(said).write_text(f"whole chunks: {done}")
        raise
"""
MAIN = """
import dataclasses, sys
from lib.lineage.steps import STEPS
from lib.runtime import jobs
STEPS["model"] = dataclasses.replace(STEPS["model"], job="a_step:run")
sys.exit(jobs.run(jobs.Job.model_validate_json(open(sys.argv[1]).read())))
"""


@pytest.mark.parametrize(
    ("step", "recipe", "advice"),
    [
        ("model", {"batch_size": 256}, f"lower the batch: --set batch_size=128; or {MORE_MEMORY}"),
        ("model", {"batch_size": 1}, MORE_MEMORY),
        ("features", {"batch_size": 256}, MORE_MEMORY),
        ("evaluation", {}, MORE_MEMORY),
    ],
)
def test_only_a_training_that_runs_out_of_memory_is_advised_to_lower_its_batch(
    step: str, recipe: dict[str, int], advice: str
) -> None:
    job = Job(step=step, settings=Settings(), runs_on="cpu", arguments={"recipe": recipe} if recipe else {})
    assert job.advice == advice


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OtherVersion("x"), "PermanentError"),
        (TooLarge("x"), "PermanentError"),
        (InTheWay("x"), "NotFound"),
        (NoGpu("x"), "NoGpu"),
        (TransientError("x"), "TransientError"),
    ],
)
def test_every_error_of_a_job_reaches_its_flow_as_one_that_it_knows(error: PipelineError, kind: str) -> None:
    assert kind_of(error) == kind


def test_where_its_flow_was_killed_the_chunk_under_way_is_finished(tmp_path: Path) -> None:
    (tmp_path / "a_step.py").write_text(STEP)
    said, file = tmp_path / "said", tmp_path / "job.json"
    file.write_text(
        Job(
            step="model",
            settings=Settings(store_uri=str(tmp_path)),
            runs_on="cpu",
            arguments={"said": str(said)},
        ).model_dump_json()
    )
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert process.stdin
    assert process.stdout
    assert b"progress" in (line := process.stdout.readline()), line
    process.stdout.close()  # as the kernel does for a flow that was killed
    process.stdin.close()
    assert process.wait(30) == failures.ASKED_TO_STOP
    assert said.read_text() == "whole chunks: 1"


def test_a_job_finds_a_store_that_was_named_as_seen_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dataset = ingest(SPEC, LocalStore(Path("here")), mirror(tmp_path / "mirror", 1), lambda *_: None)
    arguments = {"spec": SPEC.model_dump(mode="json"), "dataset": dataset.model_dump(), "limit": None}
    job = Job(step="prepared", settings=Settings(store_uri="here"), runs_on="cpu", arguments=arguments)
    made = run_job(job, lambda event: None)
    assert (tmp_path / "here" / made.uri / "manifest.json").is_file()
