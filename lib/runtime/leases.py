"""A lease on a piece of work, so that two runs do not train the same model at once.

The owner renews it; who waits watches it with a clock of its own. So a wrong clock on either machine does no harm,
and a dead owner's lease is taken over.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from lib.errors import NotFound, PipelineError, TransientError
from lib.store import Store

LEASE = "lease.json"
POLL_S = 1.0


@contextmanager
def lease(
    store: Store, path: str, lease_s: float, on_wait: Callable[[str], None] = lambda owner: None
) -> Iterator[Callable[[], None]]:
    """Hold the lease at `path`, after waiting for its owner to finish or to stop renewing it for `lease_s`.

    `on_wait` is told once of each owner that is waited for. Yields a check that raises TransientError where another
    has taken over since: this process was silent for too long.
    """
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "id": uuid.uuid4().hex, "renewed": 0}
    _acquire(store, path, owner, lease_s, on_wait)
    released = threading.Event()
    renewer = threading.Thread(target=_renew, args=(store, path, owner, lease_s, released), daemon=True)
    renewer.start()
    try:
        yield lambda: _check(store, path, owner)
    finally:
        released.set()
        renewer.join(lease_s)
        # A lease that cannot be removed expires; it must not hide how the work ended.
        with suppress(PipelineError):
            if _read(store, path)[0].get("id") == owner["id"]:
                store.delete(path)


def _acquire(store: Store, path: str, owner: dict[str, object], lease_s: float, on_wait: Callable[[str], None]) -> None:
    seen, since, told = "", time.monotonic(), None
    while not store.create(path, _encode(owner)):
        other, version = _read(store, path)

        if version != seen:
            seen, since = version, time.monotonic()
        dead = time.monotonic() - since > lease_s or _is_dead_here(other)
        if version and dead and store.replace(path, _encode(owner), version):
            return
        if version and not dead and told != other.get("id"):
            told = other.get("id")
            on_wait(f"process {other.get('pid')} on {other.get('host')}")
        time.sleep(min(POLL_S, lease_s / 4))


def _check(store: Store, path: str, owner: dict[str, object]) -> None:
    holder = _read(store, path)[0]
    if holder.get("id") != owner["id"]:
        by = f"process {holder.get('pid')} on {holder.get('host')}" if holder else "another process, which is done"
        raise TransientError(f"{path} must be renewed in time; it was not, and was taken over by {by}; run again")


def _renew(store: Store, path: str, owner: dict[str, object], lease_s: float, released: threading.Event) -> None:
    renewed = 0
    while not released.wait(lease_s / 3):
        renewed += 1
        try:
            current, version = _read(store, path)
            if current.get("id") == owner["id"]:
                store.replace(path, _encode({**owner, "renewed": renewed}), version)
        except PipelineError:
            continue  # the next turn tries again; a lease that expires costs double work, never a wrong result


def _read(store: Store, path: str) -> tuple[dict[str, object], str]:
    try:
        data, version = store.read_version(path)
        return dict(json.loads(data)), version
    except NotFound:
        return {}, ""


def _encode(owner: dict[str, object]) -> bytes:
    return json.dumps(owner).encode()


def _is_dead_here(owner: dict[str, object]) -> bool:
    """Whether the owner ran on this machine and its process is gone."""
    if owner.get("host") != socket.gethostname():
        return False
    try:
        os.kill(int(str(owner["pid"])), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
