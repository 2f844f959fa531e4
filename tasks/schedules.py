"""When the current run was to start, by the schedule of its deployment."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import DeploymentSchedule, FlowRun
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.utilities.asyncutils import run_coro_as_sync
from pydantic import TypeAdapter

from lib.planning.dates import Start, start_now


class Timetable(NamedTuple):
    """A schedule of a deployment."""

    id: UUID
    slug: str | None
    dates: Any
    """As the server has it: the client's own class does not say when it starts."""

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.dates.timezone or "UTC")


def scheduled_start() -> Start:
    """The current run's, in the zone of the schedule that started it; of a run from a command line, in the local one.

    A run that a person or an automation started counts in the zone of its deployment's first schedule, or else in UTC.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or run.expected_start_time is None:
        return start_now()
    if run.deployment_id is None:
        return Start(run.expected_start_time.astimezone())
    try:
        with get_client(sync_client=True) as client:
            schedules = client.read_deployment(run.deployment_id).schedules
    except ObjectNotFound:
        schedules = []
    return start_of(run, run.expected_start_time, timetables(schedules))


def timetables(schedules: Iterable[DeploymentSchedule]) -> list[Timetable]:
    """The schedules of a deployment."""
    from prefect.server.schemas.schedules import SCHEDULE_TYPES  # a part of the server, which takes a second to load

    read = TypeAdapter[Any](SCHEDULE_TYPES).validate_python
    return [Timetable(each.id, each.slug, read(each.schedule.model_dump())) for each in schedules]


def start_of(run: FlowRun, at: datetime, known: Sequence[Timetable]) -> Start:
    """The start `at` of a run whose deployment has the schedules `known`."""
    by = run.created_by
    # `make deploy` may have made the schedule anew since: its slug is kept, its id is not.
    mine = next((each for each in known if by and (each.id == by.id or each.slug == by.display_value)), None)
    if mine is None:
        return Start(at.astimezone(known[0].zone if known else UTC))
    local = at.astimezone(mine.zone)
    starts = [(start, n) for n, each in enumerate(known) for start in _starts_that_day(each, local)]
    return Start(local, sum(start < (at.astimezone(UTC), known.index(mine)) for start in starts))


def _starts_that_day(timetable: Timetable, until: datetime) -> list[datetime]:
    """Those up to `until`, and on its date as the schedule's own zone has it; in UTC, where all can be compared."""
    midnight = datetime.combine(until.date(), time(), timetable.zone)
    starts: Any = run_coro_as_sync(timetable.dates.get_dates(start=midnight, end=until))
    return [each.astimezone(UTC) for each in starts if each.astimezone(timetable.zone).date() == until.date()]
