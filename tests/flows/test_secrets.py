"""A password or key of any variable stands in nothing that a run leaves, and in no argument of a process."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterStartTime, LogFilter, LogFilterTimestamp

from lib.command_line import say_store
from lib.store import open_store
from tests.s3_server import S3Server

from .conftest import Commands

MARKER = f"planted{uuid.uuid4().hex}"
PROXY = f"http://user:{MARKER}@127.0.0.1:1"
PLANTED = {
    "MIRROR_URL": f"http://user:{MARKER}@mirror.invalid/data?token={MARKER}",
    "NOTIFY_WEBHOOK_URL": f"https://hooks.example/T/{MARKER}",
    "PREFECT_API_KEY": MARKER,
    "PREFECT_API_AUTH_STRING": f"admin:{MARKER}",
    "HTTP_PROXY": PROXY,
    "HTTPS_PROXY": PROXY,
    "NO_PROXY": "127.0.0.1,localhost",
}

OF_LOGS = {"PREFECT_LOGGING_LEVEL": "DEBUG", "PREFECT_LOGGING_ROOT_LEVEL": "DEBUG"}


def planted(server: S3Server) -> dict[str, str]:
    """Every variable that takes an address or a key, with a marker in it; the store and the server work."""
    endpoint = server.endpoint.replace("//", f"//user:{MARKER}@") + f"?token={MARKER}"
    return {**server.environment(), **PLANTED, "AWS_ENDPOINT_URL_S3": endpoint, "AWS_SESSION_TOKEN": ""}


@contextmanager
def arguments_of_processes() -> Iterator[set[str]]:
    """What `ps` shows of all processes, while the block runs."""
    seen: set[str] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(file.read_text(errors="replace"))
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()


def server_knows(since: datetime) -> str:
    """All that the Prefect server has of runs since then: parameters, states, results, logs."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(start_time=FlowRunFilterStartTime(after_=since)), limit=50
        )
        logs = client.read_logs(log_filter=LogFilter(timestamp=LogFilterTimestamp(after_=since)), limit=200)
        states = [client.read_task_runs(limit=50), [client.read_flow_run_states(run.id) for run in runs]]
        assert runs
        assert logs
        return f"{runs} {logs} {states}"


def check(commands: Commands, server: S3Server, folder: Path, code: int, *command: str, **environment: str) -> str:
    """Run the command and look for the marker in all that it leaves; what it said on standard error."""
    uri, cache, since = f"s3://{server.bucket}/{uuid.uuid4().hex}", folder / "cache", datetime.now(UTC)
    given = {**planted(server), "STORE_URI": uri, "CACHE_DIR": str(cache), **OF_LOGS}
    with arguments_of_processes() as arguments:
        done = commands.run(*command, **given | environment)
    assert done.returncode == code, done.stderr
    assert arguments
    assert not any(MARKER in each for each in arguments)
    signed = "AWS4-HMAC-SHA256 Credential="  # of a header; a link to a report is signed in another form
    assert [secret for secret in (MARKER, server.secret_key, signed) if secret in done.stdout + done.stderr] == []
    store = open_store(uri, folder / "reading")
    for root in (
        "raw",
        "datasets",
        "prepared",
        "models",
        "checkpoints",
        "evaluations",
        "duplicates",
        "reports",
        "weights",
    ):
        assert not any(MARKER.encode() in store.read(path) for path in store.list(root))
    assert not any(MARKER.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    if "PREFECT_API_URL" not in environment:
        assert MARKER not in server_knows(since - timedelta(seconds=1))
    return done.stderr


@pytest.mark.slow
def test_a_run_whose_mirror_is_out_of_reach_leaves_no_password(
    commands: Commands, s3_environment: S3Server, tmp_path: Path
) -> None:
    said = check(commands, s3_environment, tmp_path, 3, "flows.ingest", "--dataset", "cifar100")
    assert "error: http://mirror.invalid/data/cifar-100-binary.tar.gz cannot be reached: " in said


@pytest.mark.slow
def test_a_run_that_trains_leaves_no_password(commands: Commands, s3_environment: S3Server, tmp_path: Path) -> None:
    check(commands, s3_environment, tmp_path, 0, "flows.train", "--models", "digits-softmax", "--epochs", "1")


ERRORS = {
    "the store's keys are wrong": (2, {"AWS_SECRET_ACCESS_KEY": MARKER}),
    "a token that is none": (2, {"AWS_SESSION_TOKEN": MARKER}),
    "the store does not answer": (
        3,
        {"AWS_ENDPOINT_URL_S3": f"http://user:{MARKER}@127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"},
    ),
    "the endpoint is none": (2, {"AWS_ENDPOINT_URL_S3": f"http://user:{MARKER}@[::1"}),
    "keys in the store's address": (2, {"STORE_URI": f"s3://key:{MARKER}@bucket/x"}),
    "a token in the store's address": (2, {"STORE_URI": f"s3://bucket/x?token={MARKER}"}),
    "a mirror of another kind": (2, {"MIRROR_URL": f"ftp://user:{MARKER}@host/x"}),
    "a mirror that is none": (2, {"MIRROR_URL": f"https://user:{MARKER}@[host/x"}),
    "a webhook that is none": (2, {"NOTIFY_WEBHOOK_URL": f"hooks.example/{MARKER}"}),
    "a line end in a key": (2, {"PREFECT_API_KEY": f"{MARKER}\r"}),
}


@pytest.mark.parametrize(
    ("store_uri", "shown"),
    [
        (f"s3://key:{MARKER}@bucket/x", "s3://bucket/x"),
        (f"s3://bucket/x?token={MARKER}", "s3://bucket/x"),
        ("/data/what?/store", "/data/what?/store"),
    ],
    ids=["a key", "a token", "a folder"],  # the marker differs in each test process, and names must not
)
def test_the_store_is_named_without_a_password(store_uri: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    say_store(store_uri)
    assert capsys.readouterr().err == f"Store: {shown}\n"


@pytest.mark.slow
@pytest.mark.parametrize("case", ERRORS)
def test_a_run_that_fails_early_shows_no_password(
    case: str, commands: Commands, s3_environment: S3Server, tmp_path: Path
) -> None:
    code, environment = ERRORS[case]
    given = planted(s3_environment) | OF_LOGS | {"STORE_URI": f"s3://{s3_environment.bucket}/x"} | environment
    done = commands.run("flows.ingest", **given)
    assert done.returncode == code, done.stderr
    assert MARKER not in done.stdout + done.stderr


@pytest.mark.slow
def test_doctor_shows_no_password(commands: Commands, s3_environment: S3Server) -> None:
    given = planted(s3_environment) | OF_LOGS | {"STORE_URI": "s3://test-bucket/x"}
    done = commands.run("deployments.doctor", **given)
    assert "mirror" in done.stdout
    assert MARKER not in done.stdout + done.stderr
