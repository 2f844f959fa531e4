"""A run that crashes runs again by itself, and somebody is told when that does not help."""

from contextlib import suppress

import psutil
import pytest

from deployments.automations import RERUNS
from deployments.stack import kill_all
from tests.running_stack import RunningStack

from .conftest import QUICK, QUICK_SAID, Webhook

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]
NAME = f"train digits-cnn on digits, seed 8{QUICK_SAID}"


def processes_of(stack: RunningStack, run: str) -> list[psutil.Process]:
    """The run's own, and all that it has started."""
    found = []
    for process in stack.stack.processes():
        with suppress(psutil.Error):
            if process.environ().get("PREFECT__FLOW_RUN_ID") == run:
                found.append(process)
    return found


def test_a_run_that_crashes_each_time_is_given_up_with_an_alert_and_can_be_tried_again_by_hand(
    stack: RunningStack, webhook: Webhook
) -> None:
    def alerts() -> list[str]:
        return [told["text"] for told in webhook.told if told["text"].startswith(f"{NAME}: Crashed")]

    run = stack.run("train-model/cpu", dataset="digits", model="digits-cnn", seed=8, **QUICK)
    for count in range(1, RERUNS + 2):

        def runs(count: int = count) -> bool:
            told = stack.read(run)
            return told["run_count"] == count and told["state"]["type"] == "RUNNING"

        stack.wait_until(runs, f"start {count} of the run", 120)
        assert alerts() == []
        kill_all(processes_of(stack, run))
    stack.wait_until(alerts, "the alert", 120)
    assert len(alerts()) == 1
    given_up = stack.read(run)
    assert (given_up["state"]["type"], given_up["run_count"]) == ("CRASHED", 4)

    retry = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "as the UI's Retry does"}
    stack.post(f"flow_runs/{run}/set_state", state=retry)
    assert stack.wait(run)["state"]["type"] == "COMPLETED"
