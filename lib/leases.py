"""A claim on a piece of work, so that two runs do not train the same model at once.

The owner renews it; who waits watches it with a clock of its own. So a wrong clock on either machine does no harm,
and a dead owner's claim is taken over.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lib.errors import NotFound, PipelineError
from lib.store import Store

POLL_S = 1.0


@contextmanager
def lease(store: Store, path: str, lease_s: float) -> Iterator[None]:
    """Hold the claim at `path`, after waiting for its owner to finish or to stop renewing it for `lease_s`."""
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "id": uuid.uuid4().hex, "renewed": 0}
    _acquire(store, path, owner, lease_s)
    released = threading.Event()
    renewer = threading.Thread(target=_renew, args=(store, path, owner, lease_s, released), daemon=True)
    renewer.start()
    try:
        yield
    finally:
        released.set()
        renewer.join(lease_s)
        # A claim that cannot be removed lapses; it must not hide how the work ended.
        with suppress(PipelineError):
            if _read(store, path)[0].get("id") == owner["id"]:
                store.delete(path)


def _acquire(store: Store, path: str, owner: dict[str, object], lease_s: float) -> None:
    seen, since = "", time.monotonic()
    while not store.create(path, _encode(owner)):
        other, version = _read(store, path)
        if version != seen:
            seen, since = version, time.monotonic()
        dead = time.monotonic() - since > lease_s or _is_dead_here(other)
        if version and dead and store.replace(path, _encode(owner), version):
            return
        time.sleep(min(POLL_S, lease_s / 4))


def _renew(store: Store, path: str, owner: dict[str, object], lease_s: float, released: threading.Event) -> None:
    renewed = 0
    while not released.wait(lease_s / 3):
        renewed += 1
        try:
            current, version = _read(store, path)
            if current.get("id") == owner["id"]:
                store.replace(path, _encode({**owner, "renewed": renewed}), version)
        except PipelineError:
            continue  # the next turn tries again; a claim that lapses costs double work, never a wrong result


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
