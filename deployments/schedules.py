"""The schedules of a server as they will run: when next, for how long on this machine, and which are paused."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import tzlocal
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.server.schemas.schedules import CronSchedule as Dates

from lib.errors import PermanentError
from lib.lineage.provenance import usable_cores
from lib.models.counts import find_counts
from lib.models.schema import Recipe
from lib.planning.estimates import ESTIMATES, seconds_of, split_rows
from lib.planning.plan import make_plan
from lib.planning.request import TrainingRequest
from lib.runtime.hardware import has_gpu

Deployed = dict[str, DeploymentResponse]
"""By flow/deployment."""


def time_zone(asked: str | None) -> str:
    """`asked`, or this machine's, as `Europe/Berlin`, or UTC. Raises PermanentError where `asked` is unknown."""
    try:
        name = asked or tzlocal.get_localzone_name() or "UTC"
        return ZoneInfo(name).key
    except (LookupError, ValueError, OSError) as error:
        if not asked:
            return "UTC"
        raise PermanentError(f"SCHEDULE_TIME_ZONE must be one such as Europe/Berlin; received {asked!r}") from error


def upcoming(deployed: Deployed, now: datetime) -> Iterator[tuple[bool, str]]:
    """Of each schedule: whether it is active, and a line that says when it runs next and for how long."""
    for name, each in deployed.items():
        for schedule in each.schedules:
            active = schedule.active and not each.paused
            label = name if len(each.schedules) == 1 else f"{name} ({schedule.slug})"
            said = f"{label}: {'next run' if active else 'would run'} {_next(schedule, now)}{_lasts(name, each)}"
            # Not Prefect's own command: with 3.8 a schedule that is paused or resumed forgets its parameters.
            resume = f'make deploy ARGS="--resume {name}"'
            yield active, said if active else f"{said}; to start it: {resume}"


def _next(schedule: DeploymentSchedule, now: datetime) -> str:
    told = schedule.schedule
    if not isinstance(told, CronSchedule):
        return "at times that deployments/prefect.yaml does not say"
    (at,) = asyncio.run(Dates(cron=told.cron, timezone=told.timezone).get_dates(1, start=now))
    return f"{at:%a %Y-%m-%d %H:%M} {told.timezone}"


def _lasts(name: str, deployed: DeploymentResponse) -> str:
    seconds = _estimate_s(deployed) if name.startswith("train-all/") else None
    if seconds is None:
        return ""
    hours, minutes = divmod(max(1, round(seconds / 60)), 60)
    here = f"{usable_cores()} cores, {'a' if has_gpu() else 'no'} GPU"
    return f", about {f'{hours} h' if hours else f'{minutes} min'} of computing on this machine ({here})"


def _estimate_s(deployed: DeploymentResponse) -> float | None:
    """Of all trainings of a train-all that have to be done anew, one after the other; None where that is not known."""
    try:
        plan = make_plan(TrainingRequest(**deployed.parameters))
    except (PermanentError, TypeError, ValueError):
        return None
    rows, name = split_rows(plan.dataset, plan.limit), plan.dataset.name
    counted = [(trial.recipe, find_counts(name, trial.recipe)) for trial in plan.trials]
    guessed = [seconds_of(kind, recipe, counts, rows) for recipe, counts in counted for kind in _steps_of(recipe)]
    return sum(seconds for seconds in guessed if seconds)


def _steps_of(recipe: Recipe) -> list[str]:
    return [kind for kind in ESTIMATES if kind != "features" or recipe.frozen]
