"""The one place that decides where a model is trained: on a worker of the pool its recipe asks for, or right here."""

import math
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State, WorkerStatus
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from lib.command_line import this_python
from lib.errors import LeftOut, NoGpu, PermanentError, PipelineError, TransientError, one_line
from lib.lineage.manifests import Ref
from lib.models.backbone_schema import IMAGENET
from lib.models.imagenet import in_a_package
from lib.models.schema import Recipe
from lib.models.weights import why_without_weights
from lib.planning.outputs import find_evaluation, is_complete
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
"""All models that wait for a pool without workers are left out after so long."""
MOST_AT_ONCE = 100
"""Runs that are asked for in one call; the server gives no more than 200."""


class Waiting(NamedTuple):
    """A trial, the same starting from weights in the store, and the run that trains it."""

    trial: Trial
    stored: Trial
    run: FlowRun

    @property
    def pool(self) -> str:
        return self.trial.recipe.runs_on


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
    return Outcome(trial, evaluation=result) if isinstance(result, Ref) else Outcome(trial, error=result)


def _here(train_model: Callable[..., Any], plan: Plan, trial: Trial, prepared: Ref) -> Ref | BaseException:
    if not find_evaluation(current_store(), plan, trial, prepared):
        # Before its run begins, or what is left out would be shown as a run that failed.
        require_hardware(trial.recipe.name, trial.recipe.runs_on, current_settings().allow_cpu)
        _require_weights(trial.recipe)
    state: State[Ref] = train_model(**dict(plan.request_for(trial, prepared)), return_state=True)
    return state.result(raise_on_failure=False)


def _on_workers(plan: Plan, prepared: Ref) -> list[Outcome]:
    store, outcomes = current_store(), dict[Trial, Outcome]()
    waiting: dict[UUID, Waiting] = {}
    with get_client(sync_client=True) as client:
        for trial in plan.trials:
            try:
                stored = Trial(_starting_from_store(trial.recipe), trial.seed)
                done = find_evaluation(store, plan, stored, prepared)
                if done and is_complete(store, plan.request, done):
                    outcomes[trial] = Outcome(trial, evaluation=done)
                else:
                    run = _submit(client, trial, plan.request_for(stored, prepared))
                    waiting[run.id] = Waiting(trial, stored, run)
            except PipelineError as error:
                outcomes[trial] = Outcome(trial, error=error)
        for each, failure in _ends(client, waiting):
            found = partial(_evaluation, plan, each.stored, prepared, failure)
            outcomes[each.trial] = _outcome(each.trial, found)
    return [outcomes[trial] for trial in plan.trials]


def _require_weights(recipe: Recipe) -> None:
    """Raise LeftOut where a backbone's weights are in an optional package that is not installed."""
    if why := why_without_weights(current_store(), recipe, current_settings().mirror_url):
        raise LeftOut(why)


def _starting_from_store(recipe: Recipe) -> Recipe:
    """The recipe with weights that all workers find: those that lie elsewhere are brought into the store."""
    for backbone in recipe.backbones:
        if backbone.weights == IMAGENET and in_a_package(backbone.name):  # a worker may not have the package
            _require_weights(recipe)
            with_retries(ingest_backbone)(backbone)
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
                flow_run_name=run_title(make_plan(request.alone(), store=current_store())),
                idempotency_key=f"{flow_run.id} {recipe.title} {seed} {attempt}",
            )
        except (httpx.HTTPStatusError, ObjectNotFound) as error:
            said = one_line(error)
            raise PermanentError(
                f"{recipe.title} cannot be handed to a worker: {said}; is all deployed? make deploy"
            ) from error
        state = _read(client, run).state
        if state is None or not _has_ended(state):  # a completed one whose output is missing must run again
            get_run_logger().info("%s is trained by the run %s in the pool %s", recipe.title, run.name, recipe.runs_on)
            return FlowRun.model_validate(run)
    raise PermanentError(f"{recipe.title} has ended {ATTEMPTS} times in this run; start a new one")


def _ends(client: SyncPrefectClient, waiting: dict[UUID, Waiting]) -> Iterator[tuple[Waiting, BaseException | None]]:
    """Each of these runs as it ends for good, with what it failed of. One look at all of them every POLL_S."""
    alone_since: dict[str, float] = {}
    warned: set[str] = set()
    while waiting:
        states = _states(client, list(waiting))
        queued = {waiting[id].pool for id, state in states.items() if state.is_scheduled()}
        for pool in queued - warned:
            ages = [_age_s(state) for id, state in states.items() if state.is_scheduled() and waiting[id].pool == pool]
            if max(ages) > NO_WORKER_AFTER_S:
                warned.add(pool)
                get_run_logger().warning(
                    "no worker of pool %s has taken %s yet: all are busy, or there is none", pool, _counted(len(ages))
                )
        without = {pool for pool in queued if not _has_worker(client, pool)}
        alone_since = {pool: alone_since.get(pool, time.monotonic()) for pool in without}
        for id, each in list(waiting.items()):
            alone_s = time.monotonic() - alone_since.get(each.pool, math.inf)
            state = states.get(id)
            if state is None or _has_ended(state):
                yield waiting.pop(id), _failure(each.run, state)
            elif state.is_scheduled() and alone_s > LEFT_OUT_AFTER_S:
                _patiently()(client.set_flow_run_state, id, Cancelled(message="its pool has no worker"), force=True)
                yield waiting.pop(id), _without_worker(each.trial.recipe, alone_s)
        if waiting:
            time.sleep(POLL_S)


def _states(client: SyncPrefectClient, runs: list[UUID]) -> dict[UUID, State]:
    """Those of all runs that are still known to the server."""
    found: list[FlowRun] = []
    for begin in range(0, len(runs), MOST_AT_ONCE):
        some = FlowRunFilter(id=FlowRunFilterId(any_=runs[begin : begin + MOST_AT_ONCE]))
        found += _patiently()(client.read_flow_runs, flow_run_filter=some, limit=MOST_AT_ONCE)
    return {run.id: run.state for run in found if run.state}


def _counted(models: int) -> str:
    return "a model" if models == 1 else f"{models} models"


def _has_ended(state: State) -> bool:
    """Whether for good: a crashed run is soon run again by the server."""
    return state.is_final() and not (state.is_crashed() and _age_s(state) < RERUN_WITHIN_S)


def _age_s(state: State) -> float:
    return (datetime.now(UTC) - state.timestamp).total_seconds()


def _without_worker(recipe: Recipe, alone_s: float) -> PermanentError:
    kind = NoGpu if recipe.runs_on == "gpu" else PermanentError
    return kind(
        f"{recipe.title} was left out: the pool {recipe.runs_on} has had no worker for {alone_s / 60:.0f} minutes; "
        f"start one: {this_python()} -m deployments.worker --pool {recipe.runs_on}"
    )


def _failure(run: FlowRun, state: State | None) -> BaseException | None:
    if state is None:
        return PermanentError(f"{run.name} is no longer known to the Prefect server: it was deleted")
    if state.is_completed():
        return None
    said = (state.message or "it said nothing").removeprefix("Flow run encountered an exception: ")
    kind = TransientError if state.is_crashed() else PermanentError
    return kind(f"{run.name} ended as {state.name}: {said}")


def _evaluation(plan: Plan, stored: Trial, prepared: Ref, failure: BaseException | None) -> Ref | BaseException:
    """What the run of a trial has left in the store, or why there is nothing."""
    done = find_evaluation(current_store(), plan, stored, prepared)
    if done and failure:
        get_run_logger().warning("%s is evaluated; what came after was not done: %s", stored.recipe.title, failure)
    return done or failure or _not_found(stored.recipe)


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
