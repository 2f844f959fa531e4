"""Transient errors are tried again, all others end a task at once."""

from typing import Any, TypeVar

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from lib.errors import TransientError
from tasks.settings import current_settings

AnyTask = TypeVar("AnyTask", bound=Task[..., Any])


def is_transient(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether a new try may help. A plain function: Prefect never retries on a partial or a callable object."""
    return isinstance(state.result(raise_on_failure=False), TransientError)


def with_retries(task: AnyTask) -> AnyTask:
    """`task`, tried again after transient errors with the settings' delays and jitter."""
    delays = current_settings().retry_delays_s
    return task.with_options(  # type: ignore[return-value]
        retries=len(delays),
        retry_delay_seconds=list(delays),
        retry_jitter_factor=0.5,
        retry_condition_fn=is_transient,
    )
