"""The one place that decides where a model is trained: on a worker of the pool its recipe asks for, or right here."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State, WorkerStatus
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from lib.errors import NoGpu, PermanentError, PipelineError, TransientError
from lib.lineage.manifests import Ref
from lib.models.schema import Recipe
from lib.planning.outputs import find_evaluation
from lib.planning.plan import Outcome, Plan, Trial, make_plan
from lib.planning.request import ModelRequest
from lib.planning.titles import run_title
from lib.runtime.hardware import require_hardware
from tasks.ingestion import ingest_backbone
from tasks.retries import with_retries
from tasks.settings import current_settings, current_store

POLL_S = 2.0
ATTEMPTS = 100
RERUN_WITHIN_S = 120.0
"""A crashed run that the server has not scheduled again by then is given up."""
SERVER_BACK_WITHIN_S = 300.0
NO_WORKER_AFTER_S = 60.0
LEFT_OUT_AFTER_S = 900.0
"""A model whose pool has had no worker for so long is left out."""


def train_models(train_model: Callable[..., Any], plan: Plan, prepared: Ref) -> list[Outcome]:
    """Run `train_model` once for each trial of `plan`, and say what became of each.

    Where this run came from a deployment, by `train-model/cpu` or `train-model/gpu`, all at once, as far as workers are
    free; else in this process, one after the other.
    """
    if deployment.id:
        return _on_workers(plan, prepared)
    return [_outcome(trial, partial(_here, train_model, plan, trial, prepared)) for trial in plan.trials]


def _outcome(trial: Trial, train: Callable[[], Ref | BaseException]) -> Outcome:
    """What goes wrong with one model is its outcome, and loses no other."""
    try:
        result = train()
    except PipelineError as error:
        result = error
    return Outcome(*trial, evaluation=result) if isinstance(result, Ref) else Outcome(*trial, error=result)


def _here(train_model: Callable[..., Any], plan: Plan, trial: Trial, prepared: Ref) -> Ref | BaseException:
    if not find_evaluation(current_store(), plan, trial, prepared):
        # Before its run begins, or what is left out would be shown as a run that failed.
        require_hardware(trial.recipe.name, trial.recipe.runs_on, current_settings().allow_cpu)
    state: State[Ref] = train_model(**dict(plan.request_for(trial, prepared)), return_state=True)
    return state.result(raise_on_failure=False)


def _on_workers(plan: Plan, prepared: Ref) -> list[Outcome]:
    store, outcomes = current_store(), dict[Trial, Outcome]()
    runs: dict[Trial, tuple[Trial, FlowRun]] = {}
    with get_client(sync_client=True) as client:
        for trial in plan.trials:
            try:
                stored = Trial(_starting_from_store(trial.recipe), trial.seed)
                if done := find_evaluation(store, plan, stored, prepared):
                    outcomes[trial] = Outcome(*trial, evaluation=done)
                else:
                    runs[trial] = stored, _submit(client, trial, plan.request_for(stored, prepared))
            except PipelineError as error:
                outcomes[trial] = Outcome(*trial, error=error)
        alone_since: dict[str, float] = {}

        def result(stored: Trial, run: FlowRun) -> Ref | BaseException:
            failure = _wait(client, stored.recipe, run, alone_since)
            return failure or find_evaluation(store, plan, stored, prepared) or _not_found(stored.recipe)

        for trial, (stored, run) in runs.items():
            outcomes[trial] = _outcome(trial, partial(result, stored, run))
    return [outcomes[trial] for trial in plan.trials]


def _starting_from_store(recipe: Recipe) -> Recipe:
    """The recipe with weights that all workers find: those that lie elsewhere are brought into the store."""
    if not (recipe.backbone and recipe.backbone.weights_lie_elsewhere):
        return recipe
    weights = with_retries(ingest_backbone)(recipe.backbone)
    return recipe.starting_from(weights.uri) if weights else recipe


def _submit(client: SyncPrefectClient, trial: Trial, request: ModelRequest) -> FlowRun:
    """Start the trial's run. Where this run was restarted, reuse the one that it submitted before, if still active."""
    recipe, seed = trial
    for attempt in range(ATTEMPTS):
        try:
            run: Any = _patiently()(  # a coroutine in async code alone
                run_deployment,
                f"train-model/{recipe.runs_on}",
                parameters=dict(request),
                timeout=0,
                flow_run_name=run_title(make_plan(request.alone())),
                idempotency_key=f"{flow_run.id} {recipe.title} {seed} {attempt}",
            )
        except (httpx.HTTPStatusError, ObjectNotFound) as error:
            said = " ".join(str(error).split())
            raise PermanentError(
                f"{recipe.title} cannot be handed to a worker: {said}; is all deployed? make deploy"
            ) from error
        state = _read(client, run).state
        if state is None or not _has_ended(state):  # a completed one whose output is missing must run again
            get_run_logger().info("%s is trained by the run %s in the pool %s", recipe.title, run.name, recipe.runs_on)
            return FlowRun.model_validate(run)
    raise PermanentError(f"{recipe.title} has ended {ATTEMPTS} times in this run; start a new one")


def _wait(
    client: SyncPrefectClient, recipe: Recipe, run: FlowRun, alone_since: dict[str, float]
) -> BaseException | None:
    """Wait until the run ends for good; returns what it failed of.

    `alone_since` says since when each pool has been without workers, for all models that wait for it.
    """
    warned = False
    while True:
        state = _read(client, run).state
        if state and state.is_scheduled() and _age_s(state) > NO_WORKER_AFTER_S and not warned:
            warned = True
            get_run_logger().warning(
                "no worker of pool %s has taken %s yet: all are busy, or there is none", recipe.runs_on, run.name
            )
        if state and state.is_scheduled() and not _has_worker(client, recipe.runs_on):
            since = alone_since.setdefault(recipe.runs_on, time.monotonic())
            if (alone_s := time.monotonic() - since) > LEFT_OUT_AFTER_S:
                _patiently()(client.set_flow_run_state, run.id, Cancelled(message="its pool has no worker"), force=True)
                return _without_worker(recipe, alone_s)
        else:
            alone_since.pop(recipe.runs_on, None)
        if state and _has_ended(state):
            return _failure(run, state)
        time.sleep(POLL_S)


def _has_ended(state: State) -> bool:
    """Whether for good: a crashed run is soon run again by the server."""
    return state.is_final() and not (state.is_crashed() and _age_s(state) < RERUN_WITHIN_S)


def _age_s(state: State) -> float:
    return (datetime.now(UTC) - state.timestamp).total_seconds()


def _without_worker(recipe: Recipe, alone_s: float) -> PermanentError:
    kind = NoGpu if recipe.runs_on == "gpu" else PermanentError
    return kind(
        f"{recipe.title} was left out: the pool {recipe.runs_on} has had no worker for {alone_s / 60:.0f} minutes; "
        f"start one: python -m deployments.worker --pool {recipe.runs_on}"
    )


def _failure(run: FlowRun, state: State) -> BaseException | None:
    if state.is_completed():
        return None
    said = (state.message or "it said nothing").removeprefix("Flow run encountered an exception: ")
    kind = TransientError if state.is_crashed() else PermanentError
    return kind(f"{run.name} ended as {state.name}: {said}")


def _not_found(recipe: Recipe) -> PermanentError:
    return PermanentError(
        f"{recipe.title} has completed and no evaluation is in {current_store().uri}; "
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
        retry=retry_if_exception(_server_is_away),
        wait=wait_fixed(POLL_S),
        stop=stop_after_delay(SERVER_BACK_WITHIN_S),
        reraise=True,
    )


def _server_is_away(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error
    # A client that meets no server as it is made says so by a RuntimeError.
    return isinstance(error, httpx.TransportError | RuntimeError)
