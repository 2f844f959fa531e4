"""What started a run, and what it says as it ends."""

from types import SimpleNamespace
from uuid import UUID

import pytest
from prefect.client.schemas.objects import CreatedBy

from tasks import endings

DEPLOYMENT = UUID(int=1)


@pytest.mark.parametrize(
    ("deployment", "by", "said"),
    [
        (None, None, "hand, on the command line"),
        (DEPLOYMENT, None, "hand, in Prefect"),
        (DEPLOYMENT, CreatedBy(type="DEPLOYMENT", display_value="digits"), "hand, in Prefect"),
        (DEPLOYMENT, CreatedBy(type="SCHEDULE", display_value="train-all-on-digits-daily"),
         "the schedule train-all-on-digits-daily"),
        (DEPLOYMENT, CreatedBy(type="AUTOMATION", display_value="train all on a new digits"),
         "the automation train all on a new digits"),
        (DEPLOYMENT, CreatedBy(type="SCHEDULE", id=UUID(int=2)), f"the schedule {UUID(int=2)}"),
    ],
)  # fmt: skip
def test_what_started_a_run_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, deployment: UUID | None, by: CreatedBy | None, said: str
) -> None:
    context = SimpleNamespace(flow_run=SimpleNamespace(deployment_id=deployment, created_by=by))
    monkeypatch.setattr(endings.FlowRunContext, "get", lambda: context)
    assert endings.started_by() == said


def test_outside_a_run_it_was_a_hand() -> None:
    assert endings.started_by() == "hand, on the command line"


def test_a_run_says_as_it_ends_what_it_came_to() -> None:
    state = endings.completed("a ref", "digits-cnn is best: 0.99")
    assert (state.message, state.data) == ("digits-cnn is best: 0.99", "a ref")  # type: ignore[attr-defined]
