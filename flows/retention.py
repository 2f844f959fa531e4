"""List files that are no longer needed, or delete them: `python -m flows.retention --keep 3 --delete`.

It always selects files beside finished outputs that no manifest names, checkpoints of finished work, and incomplete
uploads older than a day. With --keep N it also selects old reports, evaluations, models and features. It keeps the
newest N models of each recipe, the best one on validation, the newest N reports of each dataset, what an alias names,
and everything these were made from. Tries (--epochs, --set, --limit) are counted apart. It keeps all finished data and
weights.

It may run beside flows: it keeps what was written within the grace period, all that this was made from, and everything
old of a dataset of which a training is under way.
"""

import argparse
import sys
from collections.abc import Callable

from prefect import flow

from flows.command import reach_store, settings_of
from flows.parameters import takes
from lib.command_line import RUN_AGAIN, add_store_option, main_of, parser
from lib.errors import counted, one_line, printable
from lib.lineage.kept import Policy
from lib.lineage.retention import Removal, apply, plan
from lib.models.recipes import is_try
from lib.planning.request import CleanUpRequest, read_request
from lib.reporting.report_list import write_report_lists
from lib.store import Store
from tasks.settings import current_store


@flow(name="retention", flow_run_name="retention", log_prints=True, retries=0, validate_parameters=False)
@takes(CleanUpRequest)
def retention(keep: int | None = None, grace_hours: float = 24.0) -> None:
    """Delete what nothing needs any more; without `keep`, only list it."""
    request = read_request(CleanUpRequest, {"keep": keep, "grace_hours": grace_hours})
    clean_up(current_store(), request, keep is not None, "set keep", note=print)


def clean_up(store: Store, request: CleanUpRequest, delete: bool, how: str, note: Callable[[str], None]) -> None:
    """Print each file that is no longer needed, and the sum of all; delete them if `delete`, or say `how` to.

    After it has deleted, the lists of reports are written anew, also those that a clean-up before it could not write.
    """
    policy = Policy(request.keep, request.grace_hours * 3600, is_try)
    planned = plan(store, policy)
    if planned.note:
        note(planned.note)
    shown: list[Removal] = []

    def show(removal: Removal) -> None:
        size = "" if removal.size_bytes is None else f", {removal.size_bytes:,} bytes"
        print(printable(f"{verb}  {removal.path}  {removal.reason}{size}"), flush=True)
        shown.append(removal)

    verb = "removed" if delete else "would remove"
    if delete:
        apply(store, policy, planned.removals, show)
        _list_reports(store, note)
    else:
        for removal in planned.removals:
            show(removal)
    advice = "" if delete or not shown else f"; nothing is removed; {how}"
    print(f"{verb} {_sum(shown)}{advice}")


def _list_reports(store: Store, note: Callable[[str], None]) -> None:
    try:
        write_report_lists(store)
    except Exception as error:
        said = one_line(error)
        note(printable(f"a list of reports may name deleted ones until the next report: {said}"))


def make_parser() -> argparse.ArgumentParser:
    options = parser(__doc__)
    add_store_option(options)
    options.add_argument(
        "--keep",
        type=int,
        metavar="N",
        help="also remove all but the newest N models of each recipe and the newest N reports of each dataset",
    )
    options.add_argument(
        "--grace-hours",
        type=float,
        metavar="H",
        default=CleanUpRequest().grace_hours,
        help="keep what was written within so many hours (default: 24); less is safe only while no flow runs",
    )
    options.add_argument("--delete", action="store_true", help="delete the files; without it they are only listed")
    return options


def command(arguments: list[str] | None = None) -> None:
    chosen = make_parser().parse_args(arguments)
    settings = settings_of(chosen)
    request = read_request(CleanUpRequest, {"keep": chosen.keep, "grace_hours": chosen.grace_hours})
    store = reach_store(settings)
    clean_up(store, request, chosen.delete, "add --delete", lambda line: print(line, file=sys.stderr))


def _sum(removals: list[Removal]) -> str:
    sizes = [removal.size_bytes for removal in removals if removal.size_bytes is not None]
    unknown = len(removals) - len(sizes)
    known = f"{counted(len(removals), 'file')}, {counted(sum(sizes), 'byte')}"
    return known + (f" and {unknown} of unknown size" if unknown else "")


if __name__ == "__main__":
    main_of(command, f"what is left of the store is whole: {RUN_AGAIN} for the rest")
