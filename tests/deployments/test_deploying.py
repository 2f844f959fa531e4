"""`make deploy` on a running installation: what it creates, keeps, pauses and takes back."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.workers.process import ProcessWorker

from deployments.worker import TEMPLATE
from tests.running_stack import PREFECT, REPOSITORY, Run, RunningStack

from .conftest import changed_configuration, resume

pytestmark = pytest.mark.stack
KINDS = ("deployments", "automations", "work_pools")


def without(keys: set[str], told: Any) -> Any:
    """`told`, a JSON value, without `keys` at any depth."""
    if isinstance(told, dict):
        return {name: without(keys, value) for name, value in told.items() if name not in keys}
    return [without(keys, each) for each in told] if isinstance(told, list) else told


def test_deploying_again_changes_nothing(stack: RunningStack) -> None:
    def on_server() -> object:
        # The server sorts by name, and two deployments of one name come in any order.
        found = [sorted(stack.post(f"{kind}/filter"), key=lambda each: str(each["id"])) for kind in KINDS]
        return without({"updated", "last_polled", "status", "active_slots"}, found)

    before = on_server()
    lines = stack.deploy()
    *unchanged, retention, cifar100, digits, fashion_mnist, last = lines
    assert [line for line in unchanged if not line.startswith("unchanged ")] == []
    assert len(unchanged) == 13 + 4 + 3 + 3  # deployments, survival, notifications, datasets
    assert retention.startswith("paused     retention/store: would run Wed ")
    assert cifar100.startswith("paused     train-all/cifar100: would run Sat ")
    assert fashion_mnist.startswith("paused     train-all/fashion-mnist: would run Sun ")
    assert digits.startswith("paused     train-all/digits: would run ")
    assert last.endswith("/api matches deployments/prefect.yaml, with 4 of its schedules paused")
    assert on_server() == before


def test_schedules_of_a_trial_stack_begin_paused_and_a_resumed_one_stays_so(stack: RunningStack) -> None:
    def active() -> dict[str, str]:
        deployments = [each for each in stack.post("deployments/filter") if each["schedules"]]
        return {each["name"]: str(each["schedules"][0]["id"]) for each in deployments if each["schedules"][0]["active"]}

    assert active() == {}
    assert [run for run in stack.runs() if run["state"]["type"] == "SCHEDULED"] == []
    resume(stack)
    known = active()
    assert list(known) == ["digits"]
    assert [line[:27] for line in stack.deploy() if "train-all/digits: " in line] == ["scheduled  train-all/digits"]
    assert active() == known
    stack.command(PREFECT, "deployment", "schedule", "pause", "train-all/digits", known["digits"])  # as the UI's switch
    lost = "FAIL  schedules    paused or resumed in the UI, and so without their parameters: "
    assert schedules(stack) == f"{lost}train-all-on-digits-daily of train-all/digits; make deploy"
    assert active() == {}
    stack.deploy()
    assert schedules(stack) == "ok    schedules    4, each with its parameters"
    assert active() == {}


def schedules(stack: RunningStack) -> str:
    """What the doctor says of them."""
    doctor = [sys.executable, "-m", "deployments.doctor"]
    done = subprocess.run(doctor, env=stack.environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return next(line for line in done.stdout.splitlines() if " schedules " in line)


def test_commands_find_the_stack_by_the_env_file_of_their_folder(stack: RunningStack, tmp_path: Path) -> None:
    """As README prints them: `prefect` reads .env where it is started."""
    (tmp_path / ".env").write_text(stack.stack.env_file.read_text())
    bare = {name: value for name, value in stack.environment.items() if name not in stack.stack.reached_by()}
    done = subprocess.run(
        [PREFECT, "deployment", "ls"], cwd=tmp_path, env=bare, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "train-all/digits" in done.stdout) == (0, True), done.stderr


def test_a_command_that_does_not_know_the_password_says_what_to_set(stack: RunningStack) -> None:
    url = stack.environment["PREFECT_API_URL"]
    said = f"the Prefect server {url} refuses us; set PREFECT_API_AUTH_STRING to its user:password"
    for command, shown in (("deploy", "error: "), ("doctor", "FAIL  server       ")):
        done = subprocess.run(
            [sys.executable, "-m", f"deployments.{command}"],
            env={**stack.environment, "PREFECT_API_AUTH_STRING": "admin:guessed"}, cwd=REPOSITORY,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(shown + said)], done.stderr


def test_deploying_takes_back_what_lets_a_run_command_its_worker(stack: RunningStack, trained: Run) -> None:
    """As an installation of an older version has it."""
    variables = {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}}
    with stack.api() as server:
        deployment = f"deployments/{trained['deployment_id']}"
        open_to_all = {"base_job_template": ProcessWorker.get_default_base_job_template()}
        server.patch("work_pools/flows", json=open_to_all).raise_for_status()
        server.patch(deployment, json={"job_variables": variables}).raise_for_status()
        assert server.get(deployment).json()["job_variables"] == variables
        lines = stack.deploy()
        assert [line for line in lines if line.startswith("updated")] == [
            "updated    work pool flows",
            "updated    deployment train-all/digits",
        ]
        assert server.get(deployment).json()["job_variables"] == {}
        template = server.get("work_pools/flows").json()["base_job_template"]
    assert template == json.loads(TEMPLATE.read_text())


def test_what_left_the_file_leaves_the_server(stack: RunningStack, tmp_path: Path) -> None:
    flow_id = stack.post("deployments/filter")[0]["flow_id"]
    theirs = stack.post("deployments/", name="theirs", flow_id=flow_id)
    told = yaml.safe_load(changed_configuration(tmp_path, "fewer.yaml", schedules=None).read_text())
    told["deployments"] = [
        each for each in told["deployments"] if (each["name"], "ingest" in each["tags"]) != ("digits", True)
    ]
    file = tmp_path / "fewer.yaml"
    file.write_text(yaml.safe_dump(told))
    lines = stack.deploy("--file", str(file))
    removed = {line.split(maxsplit=1)[1] for line in lines if line.startswith("removed")}
    assert removed == {"schedule train-all-on-digits-daily of digits", "deployment ingest/digits"}
    found = stack.post("deployments/filter")
    of_digits = {tag: each["schedules"] for each in found for tag in each["tags"] if each["name"] == "digits"}
    assert "ingest" not in of_digits
    assert of_digits["train"] == []
    assert theirs["id"] in {each["id"] for each in found}, "it does not bear our tag"
    stack.deploy()
    assert len([each for each in stack.post("deployments/filter") if each["schedules"]]) == 4
