"""Who trains a model, where a run came from a deployment, and what is made of workers and runs that are not there."""

import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Completed, Crashed, Running, Scheduled

from flows.train_model import train_model
from lib.errors import LeftOut, NoGpu, PermanentError
from lib.lineage.manifests import Ref
from lib.models.imagenet import IMAGENET_FILES
from lib.models.recipes import RECIPES
from lib.models.schema import Recipe
from lib.models.weights import find_weights
from lib.planning.plan import Outcome, Plan, Trial, make_plan
from lib.planning.request import TrainingRequest
from lib.settings import read_settings
from lib.store import open_store
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

    return {outcome.trial.recipe.name: outcome for outcome in train_all()}


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
    says = "was left out: the pool gpu has had no worker for 0 minutes; start one: "
    assert says in str(outcome.error)
    with get_client(sync_client=True) as client:
        state = newest(client).state
        assert state is not None
        assert state.is_cancelled()


@pytest.mark.slow
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


def test_weights_of_an_optional_package_are_brought_into_the_store_or_their_recipe_is_left_out(
    deployed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, store = RECIPES["backbones-frozen"], open_store(read_settings().store_uri, Path())

    @flow
    def train_all() -> Recipe:
        return launching._starting_from_store(recipe)

    assert train_all() == recipe, "workers look for them under the same address"
    assert [find_weights(store, each) is not None for each in recipe.backbones] == [False, True, True]
    (file,) = IMAGENET_FILES["efficientnet-lite2"]
    other = file.model_copy(update={"package": "no-such-package", "sha256": "0" * 64})
    monkeypatch.setitem(IMAGENET_FILES, "efficientnet-lite2", (other,))
    (outcome,) = launched("backbones-frozen").values()
    assert isinstance(outcome.error, LeftOut)
    assert not outcome.failed


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


def test_a_pool_without_workers_is_noticed_at_once_for_every_model(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = {recipe.name: Trial(recipe, 0) for recipe in planned("digits-cnn", "digits-cnn-gpu").recipes}
    runs = {name: FlowRun(flow_id=uuid4(), name=name) for name in ("busy", "lonely", "lonely too")}
    recipes = {"busy": "digits-cnn", "lonely": "digits-cnn-gpu", "lonely too": "digits-cnn-gpu"}
    waiting = {run.id: launching.Waiting(*2 * (trial[recipes[name]],), run) for name, run in runs.items()}
    ended: list[str] = []

    def states(client: object, ids: list[UUID]) -> dict[UUID, State]:
        done = Completed() if len(ended) == 2 else Running()
        return {id: done if id == runs["busy"].id else Scheduled() for id in ids}

    class Client:
        def set_flow_run_state(self, run: UUID, state: State, force: bool) -> None:
            assert state.is_cancelled()

    monkeypatch.setattr(launching, "_states", states)
    monkeypatch.setattr(launching, "_has_worker", lambda client, pool: pool == "cpu")
    monkeypatch.setattr(launching, "POLL_S", 0)
    monkeypatch.setattr(launching, "LEFT_OUT_AFTER_S", 0)
    failures = {}
    for each, failure in launching._ends(Client(), waiting):  # type: ignore[arg-type]
        ended.append(each.run.name)
        failures[each.run.name] = type(failure)
    assert ended == ["lonely", "lonely too", "busy"]
    assert failures == {"lonely": NoGpu, "lonely too": NoGpu, "busy": type(None)}


def test_a_run_that_was_deleted_meanwhile_loses_its_model_alone(
    prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (recipe,) = planned("digits-cnn").recipes
    gone = launching.Waiting(Trial(recipe, 0), Trial(recipe, 0), FlowRun(flow_id=uuid4(), name="train it"))
    with get_client(sync_client=True) as client:
        ((_, failure),) = launching._ends(client, {gone.run.id: gone})
    assert str(failure) == "train it is no longer known to the Prefect server: it was deleted"
