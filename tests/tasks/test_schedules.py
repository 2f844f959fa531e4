"""The seeds of scheduled runs: a walk over all starts, both changes of clocks included."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import DeploymentSchedule, FlowRun
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

from deployments.configuration import read_configuration
from lib.planning.dates import Start, fresh_seed
from tasks.schedules import Timetable, start_of, timetables

OURS = {schedule.slug: schedule.cron for each in read_configuration().deployments for schedule in each.schedules}
CHANGES = {"Europe/Berlin": ((3, 27), (10, 30)), "America/New_York": ((3, 13), (11, 6))}
"""The days of 2027 before the clocks change."""


def made(*schedules: Any) -> list[Timetable]:
    return timetables(DeploymentSchedule(slug=f"s{n}", schedule=each) for n, each in enumerate(schedules))


def started_by(kind: str, identity: UUID, name: str | None) -> FlowRun:
    by = {"type": kind, "id": identity, "display_value": name}
    return FlowRun.model_validate({"flow_id": uuid4(), "created_by": by})


def walk(timetable: Timetable, begin: datetime, days: int) -> list[datetime]:
    """All starts, as the server plans them: some days at a time, from whenever it is."""
    end, at, found = begin + timedelta(days=days), begin, set[datetime]()
    while at < end:
        found |= set(asyncio.run(timetable.dates.get_dates(start=at, end=min(end, at + timedelta(days=4)))))
        at += timedelta(days=3, hours=7)
    return sorted(each.astimezone(UTC) for each in found)


def seeds(known: list[Timetable], begin: datetime, days: int) -> list[int]:
    starts = [(at, each) for each in known for at in walk(each, begin, days)]
    runs = {each.id: started_by("SCHEDULE", each.id, each.slug) for each in known}
    return [fresh_seed(start_of(runs[each.id], at, known)) for at, each in starts]


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize("slug", OURS)
def test_each_start_of_our_schedules_has_the_next_date_as_its_seed(slug: str, zone: str) -> None:
    found = seeds(made(CronSchedule(cron=OURS[slug], timezone=zone)), datetime(2027, 1, 15, tzinfo=UTC), 400)
    days = [datetime.strptime(str(seed), "%Y%m%d") for seed in found]
    step = timedelta(days=1 if slug.endswith("daily") else 7)
    assert [after - before for before, after in itertools.pairwise(days)] == [step] * (len(days) - 1)
    assert len(days) >= timedelta(days=399) // step


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize(
    "schedules",
    [
        ["0 1,13 * * *"],
        ["30 * * * *"],
        [timedelta(hours=5)],
        ["0 1 * * *", "0 1,2,3 * * *"],
    ],
    ids=str,
)
def test_no_two_starts_of_a_deployment_share_a_seed(schedules: list[Any], zone: str) -> None:
    def schedule(of: Any) -> Any:
        if isinstance(of, timedelta):
            return IntervalSchedule(interval=of, timezone=zone)
        return CronSchedule(cron=of, timezone=zone)

    known = made(*(schedule(each) for each in schedules))
    for day in CHANGES[zone]:
        found = seeds(known, datetime(2027, *day, tzinfo=UTC), 3)
        assert len(found) == len(set(found)) >= 3 * len(schedules)


def test_a_run_that_no_schedule_started_counts_in_its_deployments_zone_or_in_utc() -> None:
    at = datetime(2027, 3, 28, 22, 30, tzinfo=UTC)  # half past midnight in Berlin
    runs = started_by("USER", uuid4(), "marvin"), FlowRun(flow_id=uuid4())
    berlin = made(CronSchedule(cron="0 0 * * *", timezone="Europe/Berlin"))
    assert [fresh_seed(start_of(run, at, berlin)) for run in runs] == [20270329, 20270329]
    assert start_of(runs[0], at, []) == Start(at)


def test_a_schedule_that_was_deployed_again_meanwhile_is_found_by_its_slug() -> None:
    (hourly,) = made(CronSchedule(cron="0 * * * *", timezone="UTC"))
    run = started_by("SCHEDULE", uuid4(), hourly.slug)
    assert start_of(run, datetime(2027, 5, 1, 3, tzinfo=UTC), [hourly]).earlier == 3
