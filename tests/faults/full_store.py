"""Train and evaluate on a store that is full at each write in turn: `python -m tests.faults.full_store`.

A file says how many writes of a process succeed before the store is full. Each try goes on from what the one before it
left, until it is cut at the write after.
"""

import itertools
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from lib.command_line import main_of
from lib.errors import PermanentError
from lib.lineage.manifests import Ref
from lib.store import Store, open_store
from tests.faults import steps

FULL = "No space left on device"
ALLOWED = "writes-allowed"
PATCH = f"""
import errno, itertools, os, stat
flush, made = os.fsync, itertools.count()

def fsync(file):
    if stat.S_ISREG(os.fstat(file).st_mode) and next(made) >= int(open("{{folder}}/{ALLOWED}").read()):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    flush(file)

os.fsync = fsync
"""
"""As `sitecustomize.py`. On a full disk, what was written fails at the latest as it is flushed."""


def environment(folder: Path) -> dict[str, str]:
    """One in which this command's processes meet a full store, by files in `folder`."""
    (folder / "sitecustomize.py").write_text(PATCH.format(folder=folder))
    (folder / ALLOWED).write_text("99")
    return {"PYTHONPATH": str(folder)}


def command() -> None:
    allowed = Path(os.environ["PYTHONPATH"]) / ALLOWED
    settings, plan = steps.asked()
    store = open_store(settings.store_uri, settings.cache_dir)
    model, met = _cut_at_each_write(lambda: steps.train(settings, plan), store, allowed)
    _, met_later = _cut_at_each_write(lambda: steps.evaluate(settings, plan, model), store, allowed)
    print(f"{met + met_later} writes met a full store", file=sys.stderr)


def _cut_at_each_write(step: Callable[[], Ref], store: Store, allowed: Path) -> tuple[Ref, int]:
    """What `step` makes in the end, and how often the store was full; it holds more after a try that left nothing."""
    writes, seen = 0, set(_stored(store))
    for met in itertools.count():
        allowed.write_text(str(writes))
        try:
            return step(), met
        except PermanentError as error:
            if FULL not in str(error):
                raise
        new = set(_stored(store)) - seen
        writes, seen = writes + (not new), seen | new
    raise AssertionError


def _stored(store: Store) -> list[str]:
    """Paths without the digests in their names: a Keras file has the time of its making in it."""
    paths = [path for kind in ("checkpoints", "models", "evaluations") for path in store.list(kind)]
    return [re.sub("-[0-9a-f]{12}[.]", ".", path) for path in paths]


if __name__ == "__main__":
    main_of(command)
