"""Whether a store keeps its promises; by some of them two runs do not overwrite each other's work."""

import errno
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from lib.errors import PermanentError, PipelineError, TransientError
from lib.store.contract import Store
from lib.store.folder import LocalStore, why_no_folder
from lib.store.s3 import S3Store
from lib.time_limits import TooSlow, within

PROBES = "doctor"
ANSWERS_WITHIN_S = 30.0
"""In all, with all tries of all calls: of a server that sends a byte now and then, each of them could take as long."""
ATTEMPTS = 5
"""Of each call: a server that is busy is said to be, and not to be silent."""
DO_NOT_USE = "do not use it: two runs could overwrite each other's work"


Result = TypeVar("Result")


def require_answer(store: Store) -> None:
    """Raise, within half a minute, where a server does not answer as a store does: what follows may ask it for much."""
    if not isinstance(store, LocalStore):
        _in_time(store, lambda asked: asked.exists(f"{PROBES}/asked-for"))


def require_promises(store: Store) -> None:
    """Raise where work cannot be kept in `store`. Leaves nothing there; a folder's promises are the file system's."""
    if isinstance(store, LocalStore):
        _require_folder(store)
    elif broken := broken_promise(store):
        raise PermanentError(f"{store.uri}: a store {broken}; this one does not: {DO_NOT_USE}")


def broken_promise(store: Store) -> str | None:
    """The first promise that `store` does not keep, tried on a file there: `creates only what is absent`, say.

    Raises as `require_answer` does.
    """
    return _in_time(store, _broken_promise)


def _broken_promise(store: Store) -> str | None:
    path = f"{PROBES}/{uuid.uuid4().hex}"
    made: list[Path] = []
    if isinstance(store, LocalStore):
        missing = [folder for folder in (store.root, *store.root.parents) if not os.path.lexists(folder)]
        made = [store.root / PROBES, *missing]  # the first may be left from a probe that was killed
    try:
        return next((promise for promise, kept in _promises(store, path) if not kept), None)
    finally:
        with suppress(PipelineError):  # it must not hide what went wrong before
            store.delete(path)
        for folder in made:
            with suppress(OSError):  # another's work lies there by now
                folder.rmdir()


def _in_time(store: Store, ask: Callable[[Store], Result]) -> Result:
    asked = store.asking(ATTEMPTS) if isinstance(store, S3Store) else store
    try:
        return within(ANSWERS_WITHIN_S, lambda: ask(asked))
    except TooSlow as error:
        raise TransientError(f"{store.uri} {error}; check AWS_ENDPOINT_URL_S3 and the network") from None


def _promises(store: Store, path: str) -> Iterator[tuple[str, bool]]:
    """What a store does, and whether this one did it at `path`."""
    yield "creates what is absent", store.create(path, b"created")
    version = store.read_version(path)[1]
    yield "creates only what is absent", not store.create(path, b"created again")
    yield "replaces what is unchanged", store.replace(path, b"replaced", version)
    yield "replaces only what is unchanged", not store.replace(path, b"replaced again", version)
    yield "gives back what was written", store.read(path) == b"replaced"
    yield "lists what it holds", path in store.list(PROBES)
    store.delete(path)
    yield "deletes", not store.exists(path)


def _require_folder(store: LocalStore) -> None:
    if why := _why_not_written(store.root):
        raise PermanentError(
            f"the store must be a folder that can be written; received {store.root}: {why}; "
            "set STORE_URI or --store to another place, or mend this one"
        )
    store.require_links()


def _why_not_written(folder: Path) -> str:
    """Empty where it can be."""
    try:
        there = next(each for each in (folder, *folder.parents) if each.exists() or each.is_symlink())
        if why := why_no_folder(there):
            return why
        if os.access(there, os.W_OK | os.X_OK):
            return ""
        return os.strerror(errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES)
    except OSError as error:  # a name that is too long
        return str(error.strerror)
