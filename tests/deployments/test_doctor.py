"""The doctor says of each part of an installation whether it is well, and what to do where it is not."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.checks import (
    Verdict,
    check_clock,
    check_deployments,
    check_gpu,
    check_leases,
    check_mirror,
    check_server,
    check_store,
    check_weights,
)
from deployments.doctor import attempt, command
from deployments.ports import free_ports
from lib.errors import PermanentError
from lib.models.recipes import RECIPES
from lib.models.weights import IMAGENET_FILES, ingest_weights
from lib.settings import REPOSITORY
from lib.store import LocalStore, Store, open_store

LEASE = "checkpoints/models/digits/digits-cnn/abc/lease.json"
MOBILENET = RECIPES["mobilenet"].backbone
WANTED = ["train-all/digits", "ingest/digits"]


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_store(str(tmp_path / "store"), tmp_path / "cache")
    server = request.getfixturevalue("s3_environment")
    return open_store(f"s3://{server.bucket}/{uuid.uuid4().hex}", tmp_path / "cache")


@pytest.fixture
def closed() -> Iterator[str]:
    """A PREFECT_API_URL at which nothing answers."""
    url = f"http://127.0.0.1:{free_ports(1)[0]}/api"
    with temporary_settings({PREFECT_API_URL: url}):
        yield url


@contextmanager
def web_server(status: int = 200, ahead_s: float = 0) -> Iterator[str]:
    """The address of one that answers all with a page, by a clock that is `ahead_s`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"<html>")

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(int(time.time() + ahead_s))

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def lease(renewed: int = 0) -> bytes:
    return json.dumps({"host": "x", "pid": 12, "id": "other", "renewed": renewed}).encode()


def test_without_a_server_the_rest_is_checked_and_the_exit_code_is_2(closed: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "deployments.doctor", "--store", str(tmp_path / "store")],
        cwd=REPOSITORY,
        env={**os.environ, "PREFECT_API_URL": closed, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == ["error: 1 of 12 checks failed; their lines say what to do"]
    lines = ended.stdout.splitlines()
    assert lines[0].startswith(f"FAIL  server       {closed} cannot be reached (")
    assert lines[0].endswith("; set PREFECT_API_URL (it ends in /api), or start one: make stack")
    assert lines[1:5] == [
        "warn  pools        not checked: no server",
        "warn  deployments  not checked: no server",
        f"ok    store        {tmp_path / 'store'}: reads, writes, creates only if absent, replaces only if unchanged",
        "ok    mirror       not set: the publishers' own addresses are used",
    ]
    assert [line[:18] for line in lines[5:9]] == ["warn  weights     "] * 4
    assert lines[9:] == [
        "ok    gpu          none here; recipes that run on a GPU need a worker of pool gpu",
        "warn  clock        not checked: no server answers",
        "ok    leases       none stands",
    ]


@pytest.mark.usefixtures("closed")
def test_without_a_store_the_rest_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STORE_URI", str(tmp_path / "file"))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(PermanentError, match=r"2 of 9 checks failed"):
        command([])
    lines = {line[6:18].strip(): line for line in capsys.readouterr().out.splitlines()}
    assert lines["store"] == (
        f"FAIL  store        the store must be a folder that can be written; received {tmp_path / 'file'}: "
        "Not a directory; set STORE_URI or --store to another place, or mend this one"
    )
    assert lines["weights"] == "warn  weights      not checked: no store"
    assert lines["leases"] == "warn  leases       not checked: no store"
    assert lines["gpu"].startswith("ok")


def test_a_fault_of_a_check_is_one_line() -> None:
    def fault() -> Verdict:
        raise ZeroDivisionError("first\nsecond")

    assert attempt("store", fault) == Verdict("store", "FAIL", "ZeroDivisionError: first second")


def test_without_an_address_of_a_server_it_says_which_variable_to_set() -> None:
    with temporary_settings({PREFECT_API_URL: None}):
        said = str(check_server())
    assert said == "FAIL  server       PREFECT_API_URL is not set; set it, or start a server: make stack"


@pytest.mark.parametrize("status", [200, 404])
def test_a_server_that_is_not_prefect_s_fails(status: int) -> None:
    with web_server(status) as url, temporary_settings({PREFECT_API_URL: url}):
        verdict = check_server()
    said = f"FAIL  server       the Prefect server {url} is not the API of a Prefect server; its address ends in /api"
    assert str(verdict).startswith(said)


@pytest.mark.parametrize(
    ("versions", "verdict"),
    [
        (dict.fromkeys(WANTED, "1a2b3c"), Verdict("deployments", "ok", "2, all at commit 1a2b3c")),
        (
            {"train-all/digits": "1a2b3c", "ingest/digits": "4d5e6f"},
            Verdict("deployments", "warn", "2, at commit 1a2b3c, 4d5e6f; this code is 1a2b3c", "make deploy"),
        ),
        ({"train-all/digits": "1a2b3c"}, Verdict("deployments", "FAIL", "missing: ingest/digits", "make deploy")),
    ],
)
def test_deployments_are_all_there_and_of_this_commit_or_deployed_again(
    versions: dict[str, str | None], verdict: Verdict
) -> None:
    assert check_deployments(versions, WANTED, "1a2b3c") == verdict


def test_a_store_that_keeps_its_promises_is_well_and_nothing_stays_in_it(store: Store) -> None:
    kept = "reads, writes, creates only if absent, replaces only if unchanged"
    assert check_store(store) == Verdict("store", "ok", f"{store.uri}: {kept}")
    assert store.list("doctor") == []
    if isinstance(store, LocalStore):
        assert list(store.root.iterdir()) == []


class CreatesAlways(LocalStore):
    """As an S3 server that passes over If-None-Match."""

    def create(self, path: str, data: bytes) -> bool:
        self.write(path, data)
        return True


class ReplacesAlways(LocalStore):
    """As an S3 server that passes over If-Match."""

    def replace(self, path: str, data: bytes, version: str) -> bool:
        self.write(path, data)
        return True


@pytest.mark.parametrize(
    ("kind", "broken"),
    [(CreatesAlways, "creates only what is absent"), (ReplacesAlways, "replaces only what is unchanged")],
)
def test_a_store_that_ignores_conditions_must_not_be_used(tmp_path: Path, kind: type[LocalStore], broken: str) -> None:
    assert str(check_store(kind(tmp_path))) == (
        f"FAIL  store        {tmp_path}: a store {broken}; this one does not; "
        "do not use it: two runs could overwrite each other's work"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_mirror_is_readable_or_fails(tmp_path: Path, s3_environment: object) -> None:
    with web_server(403) as listed_by_nobody, web_server(503) as busy:
        mirrors = (None, tmp_path.as_uri(), "s3://test-bucket/mirror", listed_by_nobody)
        assert [check_mirror(url).level for url in mirrors] == ["ok"] * 4
        failing = ((tmp_path / "gone").as_uri(), "s3://no-such-bucket/mirror", busy, "ftp://host/mirror")
        for url, reason in zip(
            failing, ("No such file", "the bucket of", "it answers HTTP 503", "it must begin with file://"), strict=True
        ):
            verdict = check_mirror(url)
            assert (verdict.level, verdict.remedy) == ("FAIL", "check MIRROR_URL, or unset it")
            assert verdict.found.startswith(f"{url} cannot be read (")
            assert reason in verdict.found


def test_weights_are_in_the_store_or_it_says_from_where_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOBILENET
    store = LocalStore(tmp_path / "store")
    missing = check_weights(store, MOBILENET, None)
    assert (missing.level, missing.found) == ("warn", "mobilenet: not in the store")
    assert missing.remedy == (
        "the first run fetches them from "
        "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet/mobilenet_1_0_224_tf_no_top.h5"
    )
    assert check_weights(store, MOBILENET, "s3://mirror").remedy == "the first run fetches them from s3://mirror"
    with h5py.File(tmp_path / "mobilenet_1_0_224_tf_no_top.h5", "w") as file:
        file.attrs["layer_names"] = ["conv1"]
    made = hashlib.sha256((tmp_path / "mobilenet_1_0_224_tf_no_top.h5").read_bytes()).hexdigest()
    accepted = IMAGENET_FILES["mobilenet"][0].model_copy(update={"md5": None, "sha256": made})
    monkeypatch.setitem(IMAGENET_FILES, "mobilenet", (accepted,))
    ingest_weights(store, MOBILENET, tmp_path.as_uri(), lambda *_: None)
    assert check_weights(store, MOBILENET, None) == Verdict("weights", "ok", "mobilenet: in the store")


def test_gpus_are_named() -> None:
    assert check_gpu(["0", "1"]) == Verdict("gpu", "ok", "2 GPUs: 0, 1")


@pytest.mark.parametrize(("ahead_s", "level"), [(0, "ok"), (30, "ok"), (-90, "warn"), (3600, "warn")])
def test_a_clock_more_than_a_minute_off_is_told(ahead_s: float, level: str, closed: str) -> None:
    with web_server(403, ahead_s) as url:
        verdict = check_clock([closed, url])
    assert verdict.level == level
    seconds, _, server = verdict.found.partition(" s from that of ")
    assert abs(ahead_s) - 2 < float(seconds) < abs(ahead_s) + 2
    assert f"http://{server}" == url


def test_a_claim_that_nobody_renews_is_told(store: Store) -> None:
    store.write(LEASE, lease())
    verdict = check_leases(store, 0.4)
    assert str(verdict) == (
        f"warn  leases       {LEASE} has stood unchanged for 0.6 s (owner process 12 on host x); "
        "a run takes over by itself after 0.4 s; if none does: remove it"
    )
    assert store.read(LEASE) == lease()


def test_claims_that_are_renewed_or_removed_are_no_fault(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    done = LEASE.replace("abc", "def")
    store.write(LEASE, lease())
    store.write(done, lease())

    def work() -> None:
        store.write(LEASE, lease(renewed=1))
        store.delete(done)

    thread = threading.Timer(0.3, work)
    thread.start()
    verdict = check_leases(store, 4)
    thread.join()
    assert verdict == Verdict("leases", "ok", f"2 runs at work: {LEASE}, {done}")


def test_without_a_claim_nothing_is_waited_for(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write(LEASE.replace("lease.json", "state.json"), b"{}")
    started = time.monotonic()
    assert check_leases(store, 60) == Verdict("leases", "ok", "none stands")
    assert time.monotonic() - started < 1
