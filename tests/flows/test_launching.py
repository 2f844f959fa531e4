"""Who trains a model, where a run came from a deployment, and what is made of workers and runs that are not there."""

import time
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Crashed, Running

from flows.train_model import train_model
from lib.errors import NoGpu, PermanentError
from lib.lineage.manifests import Ref
from lib.planning.plan import Outcome, Plan, make_plan
from lib.planning.request import TrainingRequest
from tasks import launching

PREPARED = Ref(uri="prepared/digits/0", sha256=64 * "0")


@pytest.fixture
def deployed(prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """train-model/gpu, on a pool that no worker serves, and no train-model/cpu; this run is of a deployment too."""
    monkeypatch.setenv("STORE_URI", str(tmp_path / "store"))
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "this run came from one")
    monkeypatch.setattr(launching, "POLL_S", 0.2)
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="gpu", type="process"), overwrite=True)
        client.create_deployment(client.create_flow(train_model), "gpu", work_pool_name="gpu")


def planned(*models: str) -> Plan:
    return make_plan(TrainingRequest(dataset="digits", models=list(models)))


def launched(*models: str) -> dict[str, Outcome]:
    """What train_all makes of them, by recipe."""

    @flow
    def train_all() -> list[Outcome]:
        return launching.train_models(train_model, planned(*models), PREPARED)

    return {outcome.recipe.name: outcome for outcome in train_all()}


def newest(client: SyncPrefectClient) -> FlowRun:
    runs = [each for each in client.read_flow_runs() if each.name == "train digits-cnn-gpu on digits"]
    return max(runs, key=lambda run: str(run.created))


def test_a_model_whose_pool_has_no_worker_is_left_out_in_the_end(
    deployed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "LEFT_OUT_AFTER_S", 1)
    outcome = launched("digits-cnn-gpu")["digits-cnn-gpu"]
    assert isinstance(outcome.error, NoGpu)
    assert not outcome.failed
    says = "was left out: the pool gpu has had no worker for 0 minutes; start one: python -m deployments.worker"
    assert says in str(outcome.error)
    with get_client(sync_client=True) as client:
        state = newest(client).state
        assert state is not None
        assert state.is_cancelled()


def test_a_model_waits_for_a_worker_that_is_busy_and_for_one_that_was_away_for_a_moment(
    deployed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "LEFT_OUT_AFTER_S", 5)
    seen = iter([True] * 15 + [False] * 5 + [True] * 15)
    monkeypatch.setattr(launching, "_has_worker", lambda client, pool: next(seen, False))
    began = time.monotonic()
    assert isinstance(launched("digits-cnn-gpu")["digits-cnn-gpu"].error, NoGpu)
    assert next(seen, None) is None
    assert time.monotonic() - began > 35 * 0.2 + 5


def test_a_model_that_cannot_be_handed_over_loses_no_other(deployed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "LEFT_OUT_AFTER_S", 1)
    outcomes = launched("digits-cnn", "digits-cnn-gpu")
    assert list(outcomes) == ["digits-cnn", "digits-cnn-gpu"]
    assert isinstance(outcomes["digits-cnn"].error, PermanentError)
    assert str(outcomes["digits-cnn"].error).startswith("digits-cnn cannot be handed to a worker: ")
    assert str(outcomes["digits-cnn"].error).endswith("is all deployed? make deploy")
    assert isinstance(outcomes["digits-cnn-gpu"].error, NoGpu)


def test_a_run_under_way_is_found_again_and_one_that_has_ended_is_not(deployed: None) -> None:
    plan = planned("digits-cnn-gpu")
    (trial,) = plan.trials
    request = plan.request_for(trial, PREPARED)

    @flow
    def resumed() -> None:
        with get_client(sync_client=True) as client:
            first = launching._submit(client, trial, request)
            client.set_flow_run_state(first.id, Running(), force=True)
            assert launching._submit(client, trial, request).id == first.id
            client.set_flow_run_state(first.id, Crashed(name="WillRunAgain"), force=True)
            assert launching._submit(client, trial, request).id == first.id
            client.set_flow_run_state(first.id, Completed(), force=True)
            second = launching._submit(client, trial, request)
            assert second.id != first.id, "what it made is not in the store, or nobody would ask"
            assert launching._submit(client, trial, request).id == second.id

    resumed()
