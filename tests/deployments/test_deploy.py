"""What `make deploy` says of each deployment: created, updated or unchanged."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.automations import AutomationCore
from prefect.client.schemas.responses import DeploymentResponse, GlobalConcurrencyLimitResponse

from deployments.automations import automations
from deployments.deploy import plain, settings_of


def deployed(limit: int = 1, active_slots: int = 0, minute: int = 0, **settings: Any) -> DeploymentResponse:
    """As the server tells of one that it changed last at `minute`."""
    at = datetime(2026, 1, 1, 0, minute, tzinfo=UTC)
    counted = GlobalConcurrencyLimitResponse(
        id=UUID(int=2), updated=at, name="deployment", limit=limit, active_slots=active_slots, slot_decay_per_second=0
    )
    fields = {"name": "digits", "flow_id": UUID(int=1), "version": "1", "global_concurrency_limit": counted}
    return DeploymentResponse(id=UUID(int=3), updated=at, **{**fields, **settings})


def test_a_run_that_begins_or_ends_while_deploying_is_no_change_of_its_deployment() -> None:
    assert settings_of(deployed(active_slots=1, minute=1)) == settings_of(deployed(active_slots=0, minute=2))


def test_another_limit_version_or_parameter_is_a_change() -> None:
    told = settings_of(deployed())
    assert settings_of(deployed(limit=2)) != told
    assert settings_of(deployed(global_concurrency_limit=None)) != told
    assert settings_of(deployed(version="2")) != told
    assert settings_of(deployed(parameters={"dataset": "digits"})) != told


def test_events_of_an_automation_in_another_order_are_no_change() -> None:
    for automation in automations({"digits": UUID(int=1)}, 310, UUID(int=2)):
        told = automation.model_dump(mode="json")
        for events in ("after", "expect"):
            told["trigger"][events].reverse()
        assert plain(AutomationCore.model_validate(told)) == plain(automation)
    assert plain(automations({}, 310, None)[0]) != plain(automations({}, 320, None)[0])
