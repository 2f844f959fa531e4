"""Which date a run counts as, and the seed that `--seed fresh` makes of it: THE place for dates that change results."""

from datetime import datetime
from typing import NamedTuple

from lib.errors import PermanentError

MOST_IN_A_DAY = 100


class Start(NamedTuple):
    """When a run was to start; the same over its retries."""

    at: datetime
    """In the time zone whose date counts."""
    earlier: int = 0
    """How many other starts its deployment has on that date before this one."""


def start_now() -> Start:
    """This moment, in this machine's time zone."""
    return Start(datetime.now().astimezone())


def fresh_seed(start: Start) -> int:
    """The date as YYYYMMDD: 20261126; the second start on a date has 2026112601, the third 2026112602."""
    if start.earlier >= MOST_IN_A_DAY:
        raise PermanentError(
            f"seed (--seed) fresh must have at most {MOST_IN_A_DAY} starts a day; this is number {start.earlier + 1} "
            f"of those planned for {start.at:%Y-%m-%d}: start less often, or give each run a number as its seed"
        )
    date = int(f"{start.at:%Y%m%d}")
    return date * MOST_IN_A_DAY + start.earlier if start.earlier else date
