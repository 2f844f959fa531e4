"""How runs begin and end in the Prefect UI: what started them, and what they say of their result."""

from typing import TypeVar, cast

from prefect.context import FlowRunContext
from prefect.states import Completed

Result = TypeVar("Result")


def started_by() -> str:
    """What started the current flow run, in words."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or run.deployment_id is None:
        return "hand, on the command line"
    by = run.created_by
    if by and by.type in {"SCHEDULE", "AUTOMATION"}:
        return f"the {by.type.lower()} {by.display_value or by.id}"
    return "hand, in Prefect"


def completed(result: Result, said: str) -> Result:
    """What a flow returns so that its run ends as Completed with the message `said`; who calls it gets `result`."""
    return cast(Result, Completed(message=said, data=result))
