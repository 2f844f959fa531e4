"""What `deployments.doctor` looks at. Each check says what it found, and what to do where something is amiss."""

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlparse

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import WorkerStatus
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from lib.data.fetch import SCHEMES
from lib.errors import NotFound, PermanentError, PipelineError
from lib.models.schema import IMAGENET, Backbone
from lib.models.weights import IMAGENET_FILES, find_weights
from lib.redaction import without_secrets
from lib.runtime.leases import LEASE, POLL_S
from lib.store import Store, open_store
from lib.store.probe import DO_NOT_USE, broken_promise
from tasks.server import ask_server

MAKE_DEPLOY = "make deploy"
WATCHED_FOR_S = 25.0
"""At most. By default a lease is renewed every 20 s."""
CLOCK_TOLERANCE_S = 60.0
ANSWERS_WITHIN_S = 5.0


@dataclass(frozen=True)
class Verdict:
    """What a check found, and what to do where that is not as it should be."""

    name: str
    level: Literal["ok", "warn", "FAIL"]
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        return without_secrets(
            f"{self.level:<4}  {self.name:<11}  {'; '.join(filter(None, (self.found, self.remedy)))}"
        )


def check_server() -> Verdict:
    """Whether PREFECT_API_URL names a Prefect server that answers."""
    if not (url := PREFECT_API_URL.value()):
        return Verdict("server", "FAIL", "PREFECT_API_URL is not set", "set it, or start a server: make stack")
    try:
        return Verdict("server", "ok", f"{url} answers, Prefect {ask_server()}")
    except PipelineError as error:
        return Verdict("server", "FAIL", str(error))


def check_pool(client: SyncPrefectClient, pool: str) -> Verdict:
    """Whether the server has the pool, and a worker serves it."""
    name = f"pool {pool}"
    try:
        paused = client.read_work_pool(pool).is_paused
    except ObjectNotFound:
        return Verdict(name, "FAIL", "does not exist", MAKE_DEPLOY)
    workers = client.read_workers_for_work_pool(pool)
    online = sorted(worker.name for worker in workers if worker.status == WorkerStatus.ONLINE)
    if paused:
        return Verdict(name, "warn", "is paused", f"let it go on: prefect work-pool resume {pool}")
    if not online:
        return Verdict(name, "warn", "no worker is online", f"start one: python -m deployments.worker --pool {pool}")
    return Verdict(name, "ok", f"{_counted(online, 'worker')}: {', '.join(online)}")


def check_deployments(versions: dict[str, str | None], wanted: list[str], commit: str) -> Verdict:
    """Whether the server's deployments, whose `versions` it told by name, are all that are `wanted`, at `commit`."""
    if missing := [name for name in wanted if name not in versions]:
        return Verdict("deployments", "FAIL", f"missing: {', '.join(missing)}", MAKE_DEPLOY)
    at = ", ".join(sorted({str(versions[name]) for name in wanted}))
    if at != commit:
        return Verdict("deployments", "warn", f"{len(wanted)}, at commit {at}; this code is {commit}", MAKE_DEPLOY)
    return Verdict("deployments", "ok", f"{len(wanted)}, all at commit {at}")


def check_store(store: Store) -> Verdict:
    """Whether the store keeps its promises; by some of them two runs do not overwrite each other's work."""
    if broken := broken_promise(store):
        found = f"{store.uri}: a store {broken}; this one does not"
        return Verdict("store", "FAIL", found, DO_NOT_USE)
    kept = "reads, writes, creates only if absent, replaces only if unchanged"
    return Verdict("store", "ok", f"{store.uri}: {kept}")


def check_mirror(url: str | None) -> Verdict:
    """Whether the mirror answers; what it holds is not asked."""
    if not url:
        return Verdict("mirror", "ok", "not set: the publishers' own addresses are used")
    address = urlparse(url)
    try:
        if address.scheme not in SCHEMES:
            raise PermanentError("it must begin with file://, https:// or s3://")
        if address.scheme == "file":
            next(Path(unquote(address.path)).iterdir(), None)
        elif address.scheme == "s3":
            open_store(url, Path()).exists("any")
        elif (status := httpx.get(url, timeout=ANSWERS_WITHIN_S).status_code) >= 500:
            raise PermanentError(f"it answers HTTP {status}")
    except (OSError, PipelineError, httpx.HTTPError) as error:
        return Verdict("mirror", "FAIL", f"{url} cannot be read ({error})", "check MIRROR_URL, or unset it")
    return Verdict("mirror", "ok", f"{url} is readable")


def check_weights(store: Store, backbone: Backbone, mirror_url: str | None) -> Verdict:
    """Whether the store has what the backbone starts from."""
    if find_weights(store, backbone):
        return Verdict("weights", "ok", f"{backbone.name}: in the store")
    source = IMAGENET_FILES[backbone.name][0].url if backbone.weights == IMAGENET else backbone.weights
    remedy = f"the first run fetches them from {mirror_url or source}"
    return Verdict("weights", "warn", f"{backbone.name}: not in the store", remedy)


def check_gpu(gpus: list[str]) -> Verdict:
    """Which GPUs are here. None is no fault."""
    if gpus:
        return Verdict("gpu", "ok", f"{_counted(gpus, 'GPU')}: {', '.join(gpus)}")
    return Verdict("gpu", "ok", "none here; recipes that run on a GPU need a worker of pool gpu")


def check_clock(addresses: list[str]) -> Verdict:
    """Whether this machine's clock agrees with those of the servers at `addresses`, of those that answer."""
    off = {}
    for address in addresses:
        with suppress(httpx.HTTPError, KeyError):
            date = parsedate_to_datetime(httpx.get(address, timeout=ANSWERS_WITHIN_S).headers["Date"])
            off[urlparse(address).netloc] = abs((datetime.now(UTC) - date).total_seconds())
    if not off:
        return Verdict("clock", "warn", "not checked: no server answers")
    found = ", ".join(f"{seconds:.1f} s from that of {server}" for server, seconds in off.items())
    if max(off.values()) > CLOCK_TOLERANCE_S:
        return Verdict("clock", "warn", found, "set the wrong one; S3 refuses what is more than 15 minutes off")
    return Verdict("clock", "ok", found)


def check_leases(store: Store, lease_s: float) -> Verdict:
    """Whether the owner of each lease is alive. Waits only where there is a lease that nobody renews."""
    paths = [path for path in store.list("checkpoints") if PurePosixPath(path).name == LEASE]
    if not paths:
        return Verdict("leases", "ok", "none stands")
    patience_s = min(1.5 * lease_s, WATCHED_FOR_S)
    found = []
    for path, lease in _unchanged(store, paths, patience_s).items():
        owner = json.loads(lease)
        by = f"owner process {owner.get('pid')} on host {owner.get('host')}"
        found.append(f"{path} has stood unchanged for {patience_s:g} s ({by})")
    if not found:
        return Verdict("leases", "ok", f"{_counted(paths, 'run')} at work: {', '.join(paths)}")
    remedy = f"a run takes over by itself after {lease_s:g} s; if none does: remove it"
    return Verdict("leases", "warn", "; ".join(found), remedy)


def _unchanged(store: Store, paths: list[str], patience_s: float) -> dict[str, bytes]:
    """What lies at those of `paths` that are neither renewed nor removed within `patience_s`."""
    deadline = time.monotonic() + patience_s
    seen = {path: lease for path in paths if (lease := _lease(store, path))}
    while seen and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(POLL_S, left))
        seen = {path: lease for path, lease in seen.items() if _lease(store, path) == lease}
    return {path: data for path, (data, _) in seen.items()}


def _lease(store: Store, path: str) -> tuple[bytes, str] | None:
    try:
        return store.read_version(path)
    except NotFound:
        return None


def _counted(things: list[str], what: str) -> str:
    return f"{len(things)} {what}{'' if len(things) == 1 else 's'}"
