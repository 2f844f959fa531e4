"""List files that are no longer needed, or delete them: `python -m flows.retention --keep 3 --delete`.

It always selects files beside finished outputs that no manifest names, checkpoints of finished work, and incomplete
uploads older than a day. With --keep N it also selects old reports, evaluations, models and features. It keeps the
newest report of each dataset and limit, the newest N models of each dataset, recipe and limit, what an alias names, and
everything these were made from. It keeps all finished data and weights.

Stop all flows first. Otherwise it could delete what a flow is about to use.
"""

import argparse
import sys

from lib.command_line import add_store_option, main_of, parser, settings_of
from lib.lineage.retention import Removal, apply, plan
from lib.store import open_store


def make_parser() -> argparse.ArgumentParser:
    options = parser(__doc__)
    add_store_option(options)
    options.add_argument("--keep", type=int, metavar="N", help="also remove all but the newest N models of each recipe")
    options.add_argument("--delete", action="store_true", help="delete the files; without it they are only listed")
    return options


def command(arguments: list[str] | None = None) -> None:
    chosen = make_parser().parse_args(arguments)
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
