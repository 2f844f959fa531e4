"""What `deployments.doctor` looks at. Each check says what it found, and what to do where something is amiss."""

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import urlparse

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import WorkerStatus
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from deployments.configuration import Parameters
from deployments.deploy import check_webhook
from lib.addresses import file_in, folder
from lib.command_line import this_python
from lib.data.fetch import SCHEMES
from lib.environment_file import how_to_unset
from lib.errors import InTheWay, NotFound, PermanentError, PipelineError
from lib.models.backbone_schema import IMAGENET, Backbone
from lib.models.imagenet import IMAGENET_FILES, installed, why_not_installed
from lib.models.weights import find_weights
from lib.redaction import without_secrets
from lib.runtime.leases import LEASE, POLL_S, owner_of
from lib.store import LocalStore, Store, open_store
from lib.store.probe import DO_NOT_USE, broken_promise
from tasks.server import ask_server, what_is_said

MAKE_DEPLOY = "make deploy"
WATCHED_FOR_S = 25.0
"""At most. By default a lease is renewed every 20 s."""
CLOCK_TOLERANCE_S = 60.0
ANSWERS_WITHIN_S = 5.0
SHARED_FILE_SYSTEMS = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "ceph",
    "fuse.ceph",
    "fuse.glusterfs",
    "lustre",
    "gpfs",
    "fuse.sshfs",
}


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


def not_set_up(name: str, found: str = "") -> Verdict:
    """Of a part that an installation can do without."""
    return Verdict(name, "ok", f"not set up{found and ': '}{found}")


def check_server() -> Verdict:
    """Whether PREFECT_API_URL names a Prefect server that answers and lets us in. None is no fault."""
    if not (url := PREFECT_API_URL.value()):
        return not_set_up("server", "PREFECT_API_URL is not set; make train needs none. To start one: make stack")
    try:
        found = f"{url} answers, Prefect {ask_server()}"
        stranger = httpx.get(f"{url}/admin/version", timeout=ANSWERS_WITHIN_S)
    except (PipelineError, httpx.HTTPError) as error:
        return Verdict("server", "FAIL", what_is_said(error))
    if stranger.is_success:
        remedy = "start it with PREFECT_SERVER_API_AUTH_STRING: who reaches it can run code on the workers"
        return Verdict("server", "warn", f"{found}, and asks for no password", remedy)
    return Verdict("server", "ok", found)


def check_notifications(url: str | None) -> Verdict:
    """Whether anybody is told of failures. Nobody is no fault."""
    if not check_webhook(url):
        return not_set_up("notify", "nobody is told of failures. To be told: set NOTIFY_WEBHOOK_URL, then make deploy")
    return Verdict("notify", "ok", "NOTIFY_WEBHOOK_URL is set; make deploy brings it to the server")


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
        remedy = f"start one: {this_python()} -m deployments.worker --pool {pool}"
        return Verdict(name, "warn", "no worker is online", remedy)
    return Verdict(name, "ok", f"{_counted(online, 'worker')}: {', '.join(online)}")


def check_deployments(versions: dict[str, str | None], wanted: list[str], commit: str) -> Verdict:
    """Whether the server's deployments, whose `versions` it told by name, are all that are `wanted`, at `commit`."""
    if missing := [name for name in wanted if name not in versions]:
        return Verdict("deployments", "FAIL", f"missing: {', '.join(missing)}", MAKE_DEPLOY)
    at = ", ".join(sorted({str(versions[name]) for name in wanted}))
    if at != commit:
        return Verdict("deployments", "warn", f"{len(wanted)}, at commit {at}; this code is {commit}", MAKE_DEPLOY)
    return Verdict("deployments", "ok", f"{len(wanted)}, all at commit {at}")


def check_schedules(told: Parameters, wanted: Parameters) -> Verdict:
    """Whether the server's schedules have their parameters: with Prefect 3.8 the switch in its UI removes them."""
    lost = [f"{slug} of {name}" for (name, slug), given in wanted.items() if told.get((name, slug), given) != given]
    if lost:
        found = f"paused or resumed in the UI, and so without their parameters: {', '.join(lost)}"
        return Verdict("schedules", "FAIL", found, MAKE_DEPLOY)
    return Verdict("schedules", "ok", f"{len(wanted)}, each with its parameters")


def check_store(store: Store) -> Verdict:
    """Whether the store keeps its promises; by some of them two runs do not overwrite each other's work."""
    if broken := broken_promise(store):
        found = f"{store.uri}: a store {broken}; this one does not"
        return Verdict("store", "FAIL", found, DO_NOT_USE)
    kept = "reads, writes, creates only if absent, replaces only if unchanged"
    reach = f"; {_reach(store.root)}" if isinstance(store, LocalStore) else ""
    return Verdict("store", "ok", f"{store.uri}: {kept}{reach}")


def _reach(place: Path) -> str:
    """For whose workers a store in `folder` is."""
    kind = file_system(place)
    if kind in SHARED_FILE_SYSTEMS:
        return f"a folder on {kind}, for the workers of all machines that mount it at this path"
    return "a folder, for the workers of this machine only"


def file_system(place: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """The kind of file system that `place` lies on, as `ext4`."""
    kinds = {}
    with suppress(OSError):
        for line in mounts.read_text().splitlines():
            _, at, kind, *_ = line.split()
            kinds[at.replace("\\040", " ")] = kind
    return next((kinds[str(at)] for at in (place, *place.parents) if str(at) in kinds), "unknown")


def check_mirror(url: str | None) -> Verdict:
    """Whether the mirror answers; what it holds is not asked."""
    if not url:
        return not_set_up("mirror", "the publishers' own addresses are used")
    address, shown = urlparse(url), without_secrets(url)
    try:
        if address.scheme not in SCHEMES:
            raise PermanentError("it must begin with file://, https:// or s3://")
        if address.scheme == "file":
            next(folder(url, "MIRROR_URL must name a folder").iterdir(), None)
        elif address.scheme == "s3":
            open_store(url, Path()).exists("any")
        elif (status := httpx.get(url, timeout=ANSWERS_WITHIN_S).status_code) >= 500:
            raise PermanentError(f"it answers HTTP {status}")
    except (OSError, PipelineError, httpx.HTTPError, httpx.InvalidURL) as error:
        said = what_is_said(error).replace(url, shown)
        return Verdict(
            "mirror", "FAIL", f"{shown} cannot be read ({said})", f"check it, or {how_to_unset('MIRROR_URL')}"
        )
    return Verdict("mirror", "ok", f"{shown} is readable")


def check_weights(store: Store, backbone: Backbone, mirror_url: str | None) -> Verdict:
    """Whether the store has what the backbone starts from or, if not, the place that a run would fetch it from."""
    if find_weights(store, backbone):
        return Verdict("weights", "ok", f"{backbone.name}: in the store")
    if backbone.weights == IMAGENET and any(map(installed, IMAGENET_FILES[backbone.name])):
        return Verdict("weights", "ok", f"{backbone.name}: in an installed package")
    sources = _sources(backbone, mirror_url)
    if not sources:
        return not_set_up("weights", why_not_installed(backbone.name))
    found = next((url for url in sources if _has(url)), None)
    if found:
        said = f"{backbone.name}: the first run fetches them from {without_secrets(found)}"
        return Verdict("weights", "ok", said)
    places = " or ".join(map(without_secrets, sources))
    remedy = "its models fail: put them there, set MIRROR_URL to a place that has them, or train with --weights none"
    return Verdict("weights", "warn", f"{backbone.name}: neither in the store nor to be had at {places}", remedy)


def _sources(backbone: Backbone, mirror_url: str | None) -> list[str]:
    if backbone.weights != IMAGENET:
        return [backbone.weights]
    files = IMAGENET_FILES[backbone.name]
    if mirror_url:
        return [file_in(mirror_url, file.name) for file in files]
    return [file.url for file in files if not file.only_in_mirrors]


def _has(url: str) -> bool:
    """Whether a file lies at `url`; False too where that cannot be told."""
    address = urlparse(url)
    try:
        if address.scheme == "s3":
            place, _, name = url.rpartition("/")
            return open_store(place, Path()).exists(name)
        if address.scheme in {"http", "https"}:
            return httpx.head(url, timeout=ANSWERS_WITHIN_S, follow_redirects=True).is_success
        return folder(url, "weights must be in a file").is_file()
    except (OSError, PipelineError, httpx.HTTPError, httpx.InvalidURL):
        return False


def check_gpu(gpus: list[str]) -> Verdict:
    """Which GPUs are here. None is no fault."""
    if gpus:
        return Verdict("gpu", "ok", f"{_counted(gpus, 'GPU')}: {', '.join(gpus)}")
    return Verdict("gpu", "ok", "none here: commands leave GPU recipes out; workers of pool gpu train them")


def check_clock(addresses: list[str]) -> Verdict:
    """Whether this machine's clock agrees with those of the servers at `addresses`, of those that answer."""
    if not addresses:
        return not_set_up("clock", "there is no server to compare with")
    off = {}
    for address in addresses:
        with suppress(httpx.HTTPError, KeyError, ValueError, OverflowError):  # dates that are none too
            date = parsedate_to_datetime(httpx.get(address, timeout=ANSWERS_WITHIN_S).headers["Date"])
            ahead = date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)
            off[urlparse(address).netloc.rpartition("@")[2]] = abs(ahead.total_seconds())
    if not off:
        return Verdict("clock", "warn", "not checked: no server answers with a date")
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
        owner = owner_of(lease)
        by = f"owner process {owner.pid} on host {owner.host}" if owner else "it is damaged"
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
    except InTheWay:
        raise
    except NotFound:
        return None


def _counted(things: list[str], what: str) -> str:
    return f"{len(things)} {what}{'' if len(things) == 1 else 's'}"
