"""What `make deploy` says of each deployment: created, updated or unchanged."""

from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import pytest
from prefect.automations import AutomationCore
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse, GlobalConcurrencyLimitResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.automations import automations
from deployments.configuration import FILE, read_configuration
from deployments.deploy import deploy, new_schedules, plain, schedules_of, settings_of, why_not_deployed
from deployments.schedules import time_zone, upcoming
from lib.errors import PermanentError, TransientError
from tests.web_server import web_server


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


def schedule(number: int, slug: str, active: bool = True, zone: str = "Europe/Berlin") -> DeploymentSchedule:
    cron = CronSchedule(cron="0 1 * * 6", timezone=zone)
    return DeploymentSchedule(id=UUID(int=number), schedule=cron, active=active, slug=slug)


def test_only_schedules_that_the_server_does_not_have_are_new() -> None:
    before = {
        "train-all/digits": deployed(schedules=[schedule(5, "train-all-on-digits-daily")]),
        "train-all/fashion-mnist": deployed(schedules=[schedule(6, "train-all-on-digits-daily")]),
    }
    assert new_schedules(read_configuration(), before) == {
        ("train-all/cifar100", "train-all-on-cifar100-weekly"),
        ("train-all/fashion-mnist", "train-all-on-fashion-mnist-weekly"),
        ("retention/store", "retention-weekly"),
    }


@pytest.mark.parametrize("asked", ["Mars/Phobos", "../etc/passwd", "CEST!", "/etc/localtime"])
def test_a_time_zone_that_is_none_is_refused(asked: str) -> None:
    with pytest.raises(PermanentError, match="SCHEDULE_TIME_ZONE must be one such as Europe/Berlin; received"):
        time_zone(asked)


@pytest.mark.parametrize(("here", "zone"), [("Asia/Tokyo", "Asia/Tokyo"), (None, "UTC"), ("local", "UTC")])
def test_schedules_are_in_the_time_zone_asked_for_or_this_machine_s(
    here: str | None, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tzlocal.get_localzone_name", lambda: here)
    assert [time_zone(asked) for asked in ("Europe/Berlin", None, "")] == ["Europe/Berlin", zone, zone]


FRIDAY = datetime(2026, 11, 27, 12, tzinfo=UTC)
WOULD = "train-all/x: would run Sat 2026-11-28 01:00 Europe/Berlin"
RESUME = '; to start it: make deploy ARGS="--resume train-all/x"'


@pytest.mark.parametrize(
    ("schedules", "paused", "active", "says"),
    [
        ([schedule(5, "s")], False, True, "train-all/x: next run Sat 2026-11-28 01:00 Europe/Berlin"),
        ([schedule(5, "s", zone="Asia/Tokyo")], False, True, "train-all/x: next run Sat 2026-11-28 01:00 Asia/Tokyo"),
        (
            [schedule(5, "s", active=False)],
            False,
            False,
            WOULD + RESUME,
        ),
        ([schedule(5, "s")], True, False, WOULD + RESUME),
    ],
)
def test_each_schedule_s_next_run_is_told_and_whether_it_is_paused(
    schedules: list[DeploymentSchedule], paused: bool, active: bool, says: str
) -> None:
    found = {"train-all/x": deployed(schedules=schedules, paused=paused, parameters={"dataset": "unknown"})}
    assert list(upcoming(found, FRIDAY)) == [(active, says)]


def test_it_is_told_how_long_a_scheduled_run_computes_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = {"train-all/cifar100": deployed(schedules=[schedule(5, "s")], parameters={"dataset": "cifar100"})}
    ((_, line),) = upcoming(found, FRIDAY)
    told, hours = line.split(", about ")
    assert told == "train-all/cifar100: next run Sat 2026-11-28 01:00 Europe/Berlin"
    assert 40 < int(hours.split(" h of computing on this machine (2 cores, no GPU)")[0]) < 80


def test_only_deployments_with_schedules_are_resumed() -> None:
    configuration = read_configuration()
    assert schedules_of(configuration, ["train-all/digits"]) == [("train-all/digits", "train-all-on-digits-daily")]
    with pytest.raises(PermanentError, match="with schedules; received ingest/digits; known: train-"):
        schedules_of(configuration, ["train-all/digits", "ingest/digits"])


def test_a_server_is_asked_with_a_limit_before_anything_is_deployed() -> None:
    with web_server() as url, temporary_settings({PREFECT_API_URL: url}):
        with pytest.raises(PermanentError, match="is not the API of a Prefect server"):
            deploy(cast(SyncPrefectClient, None), FILE, [])


URL = "http://127.0.0.1:4200/api/automations/owned-by/prefect.deployment.5a3442b9"
TRACEBACK = "Traceback (most recent call last):\n  File x\n{}\n An exception occurred.\n"


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (
            f"prefect.exceptions.PrefectHTTPStatusError: Server error '500 Internal Server Error' for url '{URL}'",
            TransientError,
            "does not serve us; look at its log and its database (HTTP 500)",
        ),
        (
            f"prefect.exceptions.PrefectHTTPStatusError: Client error '401 Unauthorized' for url '{URL}'",
            PermanentError,
            "refuses us; set PREFECT_API_AUTH_STRING",
        ),
        ("httpx.ReadTimeout", TransientError, "prefect deploy failed: httpx.ReadTimeout"),
        ("httpx.ConnectError: refused", TransientError, "prefect deploy failed: httpx.ConnectError: refused"),
        (
            f"prefect.exceptions.PrefectHTTPStatusError: Client error '422 Unprocessable Entity' for url '{URL}'",
            PermanentError,
            "prefect deploy failed: prefect.exceptions.PrefectHTTPStatusError: Client error '422",
        ),
        ("ValueError: no such flow", PermanentError, "prefect deploy failed: ValueError: no such flow"),
    ],
)
def test_what_prefect_deploy_prints_says_whether_it_may_pass(error: str, kind: type[Exception], says: str) -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:4200/api"}):
        found = why_not_deployed(TRACEBACK.format(error))
    assert type(found) is kind
    assert says in str(found)
    assert str(why_not_deployed("")) == "prefect deploy failed: it said nothing"
