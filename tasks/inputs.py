"""What a flow gives its tasks."""

from typing import TypeVar, cast

from prefect.utilities.annotations import quote

Given = TypeVar("Given")


def untraced(returned_by_flow: Given) -> Given:
    """The same for the task, but Prefect does not note that it came from a flow.

    Prefect's UI shows nothing of a task with such a note, neither its page nor its place in the list.
    """
    return cast(Given, quote(returned_by_flow))
