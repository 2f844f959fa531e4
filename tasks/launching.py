"""The one place that decides where a model is trained: on a worker of the pool its recipe asks for, or right here."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State, WorkerStatus
from prefect.deployments import run_deployment
from prefect.logging import get_run_logger
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from lib.errors import NoGpu, PermanentError, TransientError
from lib.manifests import Ref
from lib.models.schema import Recipe
from lib.plan import Plan, find_evaluation
from tasks.storage import settings_store

POLL_S = 2.0
ATTEMPTS = 100
RERUN_WITHIN_S = 120.0
"""A crashed run that the server has not scheduled again by then is given up."""
SERVER_BACK_WITHIN_S = 300.0
NO_WORKER_AFTER_S = 60.0
LEFT_OUT_AFTER_S = 900.0
"""A model that waits for a pool without any worker is left out then."""


def train_models(
    train_model: Callable[..., Any], plan: Plan, prepared: Ref, asked: dict[Recipe, dict[str, Any]]
) -> dict[str, Ref | BaseException]:
    """Run `train_model` once for each recipe. Returns each one's evaluation, or why there is none.

    Where this run came from a deployment, by `train-model/cpu` or `train-model/gpu`, all at once, as far as workers are
    free; else in this process, one after the other.
    """
    if not deployment.id:
        states: dict[Recipe, State[Ref]] = {
            recipe: train_model(**parameters, return_state=True) for recipe, parameters in asked.items()
        }
        return {recipe.title: state.result(raise_on_failure=False) for recipe, state in states.items()}
    store = settings_store()
    found: dict[Recipe, Ref | BaseException | None] = {
        recipe: find_evaluation(store, plan, recipe, prepared) for recipe in asked
    }
    with get_client(sync_client=True) as client:
        runs = {recipe: _submit(client, recipe, asked[recipe]) for recipe, done in found.items() if not done}
        for recipe, run in runs.items():
            failure = _wait(client, recipe, run)
            found[recipe] = failure or find_evaluation(store, plan, recipe, prepared) or _not_found(recipe)
    return {recipe.title: outcome for recipe, outcome in found.items() if outcome}


def _submit(client: SyncPrefectClient, recipe: Recipe, parameters: dict[str, Any]) -> FlowRun:
    """Start the recipe's run, or find the one that this run started in an earlier life and that has not failed."""
    for attempt in range(ATTEMPTS):
        run: Any = _patiently()(  # a coroutine in async code alone
            run_deployment,
            f"train-model/{recipe.runs_on}",
            parameters=parameters,
            timeout=0,
            flow_run_name=f"train {recipe.title} on {parameters['dataset']}",
            idempotency_key=f"{flow_run.id} {recipe.title} {attempt}",
        )
        state = _read(client, run).state
        if state is None or not state.is_final() or state.is_completed():
            get_run_logger().info("%s is trained by the run %s in the pool %s", recipe.title, run.name, recipe.runs_on)
            return FlowRun.model_validate(run)
    raise PermanentError(f"{recipe.title} has failed {ATTEMPTS} times in this run; start a new one")


def _wait(client: SyncPrefectClient, recipe: Recipe, run: FlowRun) -> BaseException | None:
    """Wait until the run ends for good; returns what it failed of. A crashed run is soon run again by the server."""
    warned = False
    while True:
        state = _read(client, run).state
        age_s = (datetime.now(UTC) - state.timestamp).total_seconds() if state else 0
        if state and state.is_scheduled() and age_s > NO_WORKER_AFTER_S and not warned:
            warned = True
            get_run_logger().warning(
                "no worker of pool %s has taken %s yet: all are busy, or there is none", recipe.runs_on, run.name
            )
        if state and state.is_scheduled() and age_s > LEFT_OUT_AFTER_S and not _has_worker(client, recipe.runs_on):
            _patiently()(client.set_flow_run_state, run.id, Cancelled(message="its pool has no worker"), force=True)
            return NoGpu(f"{recipe.title} waited {age_s / 60:.0f} minutes for a worker of the pool {recipe.runs_on}")
        if state and state.is_final() and not (state.is_crashed() and age_s < RERUN_WITHIN_S):
            return _failure(run, state)
        time.sleep(POLL_S)


def _failure(run: FlowRun, state: State) -> BaseException | None:
    if state.is_completed():
        return None
    said = (state.message or "it said nothing").removeprefix("Flow run encountered an exception: ")
    kind = TransientError if state.is_crashed() else PermanentError
    return kind(f"{run.name} ended as {state.name}: {said}")


def _not_found(recipe: Recipe) -> PermanentError:
    return PermanentError(
        f"{recipe.title} has completed and no evaluation is in {settings_store().uri}; "
        f"the workers of pools flows and {recipe.runs_on} must have one STORE_URI"
    )


def _has_worker(client: SyncPrefectClient, pool: str) -> bool:
    workers = _patiently()(client.read_workers_for_work_pool, pool)
    return any(worker.status == WorkerStatus.ONLINE for worker in workers)


def _read(client: SyncPrefectClient, run: FlowRun) -> FlowRun:
    return _patiently()(client.read_flow_run, run.id)


def _patiently() -> Retrying:
    """Calls that outlast a restart of the server."""
    return Retrying(
        # A client that meets no server as it is made says so by a RuntimeError.
        retry=retry_if_exception_type((httpx.HTTPError, RuntimeError)),
        wait=wait_fixed(POLL_S),
        stop=stop_after_delay(SERVER_BACK_WITHIN_S),
        reraise=True,
    )
