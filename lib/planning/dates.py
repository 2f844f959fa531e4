"""Which date a run counts as, and the seed that `--seed fresh` makes of it: THE place for dates that change results."""

from datetime import datetime
from typing import NamedTuple

from lib.errors import PermanentError

MOST_IN_A_DAY = 100
MOST_SEEDS = 20
"""Of one run."""
NEXT_OF_A_DATE = 100_000_000
"""From one seed of a date to its next: what stands before the date counts them, and no other date has the same."""


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


def further_seeds(seed: int, count: int, of_a_date: bool) -> tuple[int, ...]:
    """`count` seeds from `seed` on: 7, 8, 9; of a date 20261126, 120261126, 220261126."""
    return tuple(seed + number * (NEXT_OF_A_DATE if of_a_date else 1) for number in range(count))
