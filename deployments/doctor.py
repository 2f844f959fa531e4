"""Check an installation, one line each, and say what to do where something is amiss: `python -m deployments.doctor`.

Server, work pools and their workers, deployments, store, mirror, weights, GPUs, clocks and claims. What it writes into
the store, to try it, it removes. The exit code is 2 if a line says FAIL.
"""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlparse

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import WorkerStatus
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from lib.errors import NotFound, PermanentError, PipelineError
from lib.fetch import SCHEMES
from lib.gpus import visible_gpus
from lib.leases import LEASE, POLL_S
from lib.models.recipes import RECIPES
from lib.models.schema import IMAGENET, Backbone
from lib.models.weights import IMAGENET_FILES, find_weights
from lib.s3 import S3Store
from lib.settings import Settings
from lib.store import LocalStore, Store, open_store

MAKE_DEPLOY = "apply deployments/prefect.yaml: make deploy"
SET_API_URL = "set PREFECT_API_URL, or start one: make stack"
S3_ATTEMPTS = "3"
PROBES = "doctor"
WATCHED_FOR_S = 25.0
"""At most: longer than the 20 s between two renewals of a claim, unless LEASE_S is set."""
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
        return f"{self.level:<4}  {self.name:<11}  {'; '.join(filter(None, (self.found, self.remedy)))}"


def attempt(name: str, check: Callable[[], Verdict]) -> Verdict:
    """The verdict of `check`, whatever it raises. Our own errors say themselves what to do."""
    try:
        return check()
    except Exception as error:
        kind = "" if isinstance(error, PipelineError) else f"{type(error).__name__}: "
        return Verdict(name, "FAIL", kind + " ".join(str(error).split()))


def check_server(url: str | None) -> Verdict:
    """Whether a Prefect server answers at `url`, which PREFECT_API_URL names."""
    if not url:
        return Verdict("server", "FAIL", "PREFECT_API_URL is not set", "set it, or start a server: make stack")
    try:
        with get_client(sync_client=True) as client:
            return Verdict("server", "ok", f"{url} answers, Prefect {client.api_version()}")
    except httpx.HTTPStatusError as error:
        found = f"{url} answers HTTP {error.response.status_code}"
        return Verdict(
            "server", "FAIL", found, "check PREFECT_API_URL, which ends in /api, and PREFECT_API_AUTH_STRING"
        )
    except httpx.HTTPError as error:
        return Verdict("server", "FAIL", f"{url} cannot be reached ({error})", SET_API_URL)
    except ValueError:  # a page, say, and no JSON
        return Verdict("server", "FAIL", f"{url} is no Prefect API", "check PREFECT_API_URL, which ends in /api")


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
        return Verdict(name, "warn", "no worker is online", f"start one: prefect worker start --pool {pool}")
    return Verdict(name, "ok", f"{_counted(online, 'worker')}: {', '.join(online)}")


def check_deployments(versions: dict[str, str | None], wanted: list[str], commit: str | None) -> Verdict:
    """Whether the server's deployments, by name with their versions, are all that are `wanted`, at `commit` if known."""
    if missing := [name for name in wanted if name not in versions]:
        return Verdict("deployments", "FAIL", f"missing: {', '.join(missing)}", MAKE_DEPLOY)
    at = ", ".join(sorted({str(versions[name]) for name in wanted}))
    if commit is None:
        return Verdict("deployments", "ok", f"{len(wanted)}, at commit {at}; which this code is, git does not tell")
    if at != commit:
        return Verdict("deployments", "warn", f"{len(wanted)}, at commit {at}; this code is at {commit}", MAKE_DEPLOY)
    return Verdict("deployments", "ok", f"{len(wanted)}, all at commit {at}")


def check_store(store: Store) -> Verdict:
    """Whether the store keeps its promises, those by which two runs do not overwrite each other's work first of all."""
    path = f"{PROBES}/{uuid.uuid4().hex}"
    try:
        broken = next((rule for rule, kept in _promises(store, path) if not kept), None)
    finally:
        with suppress(PipelineError):  # it must not hide what went wrong before
            store.delete(path)
            if isinstance(store, LocalStore):
                with suppress(OSError):  # another doctor's probe lies there
                    (store.root / PROBES).rmdir()
    if broken:
        found = f"{store.uri}: a store {broken}; this one does not"
        return Verdict("store", "FAIL", found, "use another: in this one two runs could overwrite each other's work")
    promises = "reads, writes, creates only if absent, replaces only if unchanged"
    return Verdict("store", "ok", f"{store.uri}: {promises}")


def _promises(store: Store, path: str) -> Iterator[tuple[str, bool]]:
    """What a store must do, and whether this one did it at `path`."""
    yield "creates what is absent", store.create(path, b"created")
    version = store.read_version(path)[1]
    yield "creates only what is absent", not store.create(path, b"created again")
    yield "replaces what is unchanged", store.replace(path, b"replaced", version)
    yield "replaces only what is unchanged", not store.replace(path, b"replaced again", version)
    yield "gives back what was written", store.read(path) == b"replaced"
    yield "lists what it holds", path in store.list(PROBES)
    store.delete(path)
    yield "removes what is deleted", not store.exists(path)


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
            S3Store(url, Path()).exists("any")
        elif (status := httpx.get(url, timeout=ANSWERS_WITHIN_S).status_code) >= 500:
            raise PermanentError(f"it answers HTTP {status}")
    except (OSError, PipelineError, httpx.HTTPError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        return Verdict("mirror", "FAIL", f"{url} cannot be read: {reason}", "set MIRROR_URL to another, or unset it")
    return Verdict("mirror", "ok", f"{url} is readable")


def check_weights(store: Store, backbone: Backbone, mirror_url: str | None) -> Verdict:
    """Whether the store has what the backbone starts from."""
    if find_weights(store, backbone):
        return Verdict("weights", "ok", f"{backbone.name}: in the store")
    source = IMAGENET_FILES[backbone.name][0].url if backbone.weights == IMAGENET else backbone.weights
    remedy = f"the first run fetches them from {mirror_url or source}; if it cannot, set MIRROR_URL"
    return Verdict("weights", "warn", f"{backbone.name}: not in the store", remedy)


def check_gpu(gpus: list[str]) -> Verdict:
    """Which GPUs processes here may use; none is no fault."""
    if gpus:
        return Verdict("gpu", "ok", f"{_counted(gpus, 'GPU')}: {', '.join(gpus)}")
    return Verdict("gpu", "ok", "none here; recipes that run on a GPU need a worker of pool gpu")


def check_clock(addresses: list[str]) -> Verdict:
    """Whether this machine's clock agrees with those of the servers at `addresses`, as far as they answer."""
    offsets = {}
    for address in addresses:
        with suppress(httpx.HTTPError, KeyError):
            date = parsedate_to_datetime(httpx.get(address, timeout=ANSWERS_WITHIN_S).headers["Date"])
            offsets[urlparse(address).netloc] = abs((datetime.now(UTC) - date).total_seconds())
    if not offsets:
        return Verdict("clock", "warn", "not checked: no server answers")
    found = ", ".join(f"{offset:.1f} s from {server}'s" for server, offset in offsets.items())
    if max(offsets.values()) > CLOCK_TOLERANCE_S:
        return Verdict("clock", "warn", found, "set the wrong one; S3 refuses what is 15 minutes off")
    return Verdict("clock", "ok", found)


def check_leases(store: Store, lease_s: float) -> Verdict:
    """Whether each training that has claimed a model is alive. Takes no time where there is none."""
    paths = [path for path in store.list("checkpoints") if PurePosixPath(path).name == LEASE]
    if not paths:
        return Verdict("leases", "ok", "none stands")
    started = time.monotonic()
    silent = _unchanged(store, paths, min(lease_s * 1.5, WATCHED_FOR_S))
    if not silent:
        return Verdict("leases", "ok", f"{_counted(paths, 'run')} at work: {', '.join(paths)}")
    owners = {path: json.loads(claim) for path, claim in silent.items()}
    stands = f"has stood unchanged for {time.monotonic() - started:.0f} s"
    found = [f"{path} {stands} (process {by.get('pid')} on {by.get('host')})" for path, by in owners.items()]
    remedy = f"a run takes over by itself after {lease_s:g} s; if none does: remove it"
    return Verdict("leases", "warn", "; ".join(found), remedy)


def _unchanged(store: Store, paths: list[str], patience_s: float) -> dict[str, bytes]:
    """What lies at those of `paths` that are neither renewed nor removed within `patience_s`."""
    deadline = time.monotonic() + patience_s
    seen = {path: claim for path in paths if (claim := _claim(store, path))}
    while seen and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(POLL_S, left))
        seen = {path: claim for path, claim in seen.items() if _claim(store, path) == claim}
    return {path: data for path, (data, _) in seen.items()}


def _claim(store: Store, path: str) -> tuple[bytes, str] | None:
    try:
        return store.read_version(path)
    except NotFound:
        return None


def _counted(things: list[str], what: str) -> str:
    return f"{len(things)} {what}{'' if len(things) == 1 else 's'}"


def examine(settings: Settings) -> Iterator[Verdict]:
    """Every verdict, as soon as it is known."""
    api_url = PREFECT_API_URL.value()
    yield (server := attempt("server", lambda: check_server(api_url)))
    if server.level == "ok":
        yield from _of_server()
    else:
        yield from (Verdict(name, "warn", "not checked: no server") for name in ("pools", "deployments"))
    yield (kept := attempt("store", lambda: check_store(open_store(settings.store_uri, settings.cache_dir))))
    yield attempt("mirror", lambda: check_mirror(settings.mirror_url))
    if kept.level == "ok":
        store = open_store(settings.store_uri, settings.cache_dir)
        backbones = {recipe.backbone.name: recipe.backbone for recipe in RECIPES.values() if recipe.backbone}
        for backbone in backbones.values():
            yield attempt("weights", lambda: check_weights(store, backbone, settings.mirror_url))  # noqa: B023
    else:
        yield Verdict("weights", "warn", "not checked: no store")
    yield attempt("gpu", lambda: check_gpu(visible_gpus()))
    yield attempt("clock", lambda: check_clock([f"{api_url}/health"] if api_url else []))
    yield attempt("leases", lambda: check_leases(store, settings.lease_s))
