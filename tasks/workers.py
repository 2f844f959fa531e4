"""Who runs this: a worker of a pool, or a person at a command line."""

from prefect.context import FlowRunContext


def work_pool() -> str | None:
    """The name of the pool whose worker runs the current flow; None where it was not a worker that started it."""
    context = FlowRunContext.get()
    return context.flow_run.work_pool_name if context and context.flow_run else None
