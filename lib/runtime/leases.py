"""A lease on a piece of work, so that two runs do not train the same model at once.

The owner renews it; who waits watches it with a clock of its own. So a wrong clock on either machine does no harm,
and a dead owner's lease is taken over.
"""

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from lib.errors import NotFound, PipelineError, TransientError, printable
from lib.settings import LONGEST_LEASE_S
from lib.store import Store

LEASE = "lease.json"
POLL_S = 1.0
AGAIN_S = 60.0
"""So often it is said how long the lease that is waited for has stood still."""
LONGEST_NAME = 300
Say = Callable[[str], None]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable")
    return text


class Owner(BaseModel):
    """What a lease says of who holds it."""

    model_config = ConfigDict(frozen=True)

    host: Annotated[str, AfterValidator(_printable)] = Field(max_length=LONGEST_NAME)
    pid: int = Field(gt=0, le=2**31)
    processes: str | None = Field(default=None, max_length=300)
    """The set of processes in which `pid` names one: this boot of the machine and PID namespace; None: not known."""
    id: str
    lease_s: float | None = Field(default=None, gt=0, le=LONGEST_LEASE_S)
    """How long it stands without a renewal; None: as long as who waits would let its own stand."""
    renewed: int = 0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@contextmanager
def lease(
    store: Store,
    path: str,
    lease_s: float,
    on_wait: Say = lambda owner: None,
    warn: Say = lambda message: None,
) -> Iterator[Callable[[], None]]:
    """Hold the lease at `path`, after waiting for its owner to finish or to stop renewing it for the owner's `lease_s`.

    `on_wait` is told of each owner that is waited for, and every AGAIN_S how long its lease stands still; `warn` of
    each renewal that failed. Yields a check that raises TransientError where another has taken over since: this process
    was silent for too long.
    """
    held = _Held(store, path, lease_s, warn)
    _acquire(held, on_wait)
    renewer = threading.Thread(target=held.renew_until_released, daemon=True)
    renewer.start()
    try:
        yield held.check
    finally:
        held.released.set()
        renewer.join(lease_s)
        # A lease that cannot be removed expires; it must not hide how the work ended.
        with suppress(PipelineError):
            if held.is_ours():
                store.delete(path)


class _Held:
    """This process's own hold on a lease."""

    def __init__(self, store: Store, path: str, lease_s: float, warn: Say) -> None:
        self.store, self.path, self.lease_s, self.warn = store, path, lease_s, warn
        self.owner = Owner(host=_host(), pid=os.getpid(), processes=_processes(), id=uuid.uuid4().hex, lease_s=lease_s)
        self.released = threading.Event()
        self.renewed_at = time.monotonic()

    def encoded(self) -> bytes:
        self.renewed_at = time.monotonic()
        return self.owner.model_dump_json().encode()

    def is_ours(self) -> bool:
        found, _ = _read(self.store, self.path)
        return found is not None and found.id == self.owner.id

    def check(self) -> None:
        holder, version = _read(self.store, self.path)
        if (holder is None and version) or (holder and holder.id == self.owner.id):
            return  # ours, or damaged since, which the next renewal mends
        silent_s = time.monotonic() - self.renewed_at
        raise TransientError(
            f"{self.path} was taken over by {holder or 'another process, which is done'}, {silent_s:.0f} s after this "
            f"process last renewed it (it stands for {self.lease_s:g} s); run again"
        )

    def renew_until_released(self) -> None:
        while not self.released.wait(self.lease_s / 3):
            try:
                self._renew()
            except PipelineError as error:
                # The next turn tries again; a lease that expires costs double work, never a wrong result.
                silent_s = time.monotonic() - self.renewed_at
                self.warn(
                    f"{self.path} could not be renewed: {error}; another run may take over {self.lease_s:g} s after "
                    f"the last renewal, which was {silent_s:.0f} s ago"
                )

    def _renew(self) -> None:
        holder, version = _read(self.store, self.path)
        if version and (holder is None or holder.id == self.owner.id):
            before, self.owner = self.renewed_at, self.owner.model_copy(update={"renewed": self.owner.renewed + 1})
            if not self.store.replace(self.path, self.encoded(), version):
                self.renewed_at = before


def _acquire(held: _Held, on_wait: Say) -> None:
    store, path = held.store, held.path
    seen, since, told, told_at = "", time.monotonic(), "", 0.0
    while not store.create(path, held.encoded()):
        other, version = _read(store, path)
        if version != seen:
            seen, since = version, time.monotonic()
        stands_s = (other and other.lease_s) or held.lease_s
        dead = time.monotonic() - since > stands_s or (other is not None and _is_dead_here(other))
        with suppress(NotFound):  # released meanwhile
            if version and dead and store.replace(path, held.encoded(), version):
                return
        name, now = other.id if other else "damaged", time.monotonic()
        if version and not dead and (told != name or now - max(since, told_at) >= AGAIN_S):
            first, told, told_at = told != name, name, now
            owner = str(other) if other else f"an unknown process: {path} is damaged"
            on_wait(owner if first else f"{owner} ({_stands_still(held, now - since, stands_s)})")
        time.sleep(min(POLL_S, held.lease_s / 4))


def _stands_still(held: _Held, still_s: float, stands_s: float) -> str:
    return (
        f"its lease has not changed for {still_s:,.0f} s and expires after {stands_s:,.0f} s; if that process is dead, "
        f"remove {held.path} in {held.store.uri}"
    )


def _read(store: Store, path: str) -> tuple[Owner | None, str]:
    """The holder, None where there is none or none can be read, and the version, empty where nothing is there."""
    try:
        data, version = store.read_version(path)
    except NotFound:
        return None, ""
    return owner_of(data), version


def owner_of(lease: bytes) -> Owner | None:
    """Who holds what is stored as `lease`; None where it is damaged."""
    try:
        return Owner.model_validate_json(lease)
    except ValidationError:
        return None


def _is_dead_here(owner: Owner) -> bool:
    """Whether the owner was a process among those that this one can see, and is gone."""
    here = _processes()
    if here is None or (owner.host, owner.processes) != (_host(), here):
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _host() -> str:
    """This machine's name, as a lease can hold it: the system lets it have line ends, and bytes that are no text."""
    return printable(socket.gethostname())[:LONGEST_NAME]


def _processes() -> str | None:
    """Where a process id is one process: this boot, and this PID namespace. Containers can share a host name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None
