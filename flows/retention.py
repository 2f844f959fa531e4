"""Remove what nothing needs any more: `python -m flows.retention --keep 3 --delete`; without --delete, only list it.

Always: files of lost races, checkpoints of finished work, and incomplete uploads. With --keep N: reports,
evaluations, models and features that neither the newest report of a dataset and limit, nor an alias, nor one of
the newest N models of a dataset, recipe and limit reaches. Data and weights stay.

Run it while no flow runs: what a flow has just found done must not go before it is used.
"""

import sys

from lib.command_line import add_store_option, main_of, parser, settings_of
from lib.lineage.retention import Removal, apply, plan
from lib.store import open_store


def command(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    add_store_option(options)
    options.add_argument("--keep", type=int, metavar="N", help="remove old models too, but a recipe's newest N")
    options.add_argument("--delete", action="store_true", help="remove; without it nothing is removed")
    chosen = options.parse_args(arguments)
    settings = settings_of(chosen)
    store = open_store(settings.store_uri, settings.cache_dir)
    clean_up, verb = plan(store, chosen.keep), "removed" if chosen.delete else "would remove"
    if clean_up.note:
        print(clean_up.note, file=sys.stderr)
    for removal in clean_up.removals:
        if chosen.delete:
            apply(store, [removal])
        size = "" if removal.size_bytes is None else f", {removal.size_bytes:,} bytes"
        print(f"{verb}  {removal.path}  {removal.reason}{size}")
    unused = not (chosen.delete or not clean_up.removals)
    print(f"{verb} {_sum(clean_up.removals)}{'; nothing is removed; add --delete' if unused else ''}")


def _sum(removals: list[Removal]) -> str:
    sizes = [removal.size_bytes for removal in removals if removal.size_bytes is not None]
    unknown = len(removals) - len(sizes)
    return f"{len(removals)} files, {sum(sizes):,} bytes" + (f" and {unknown} of unknown size" if unknown else "")


if __name__ == "__main__":
    main_of(command)
