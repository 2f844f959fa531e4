"""Another user of the machine, and any page in its owner's browser, get nothing from a stack and change nothing."""

import base64
import http.client
import multiprocessing
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, suppress
from itertools import product
from typing import Any, NamedTuple

import boto3
import httpx
import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from deployments.first_start import made_at_first_start
from tests.running_stack import Run, RunningStack

pytestmark = pytest.mark.stack
NOBODY = 65534
EVIL = "https://evil.example"
JSON = {"Content-Type": "application/json"}
READS = (
    "/", "/status", "/metrics", "/stats/memory", "/debug/pprof/", "/debug/vars", "/ui/index.html", "/cluster/status",
    "/buckets/", "/buckets/image-training/?pretty=y", "/image-training", "/image-training?list-type=2",
    "/dir/assign", "/dir/status", "/dir/lookup?volumeId=1", "/vol/status", "/etc/iam/", "/topics/",
    "/api/admin/version", "/api/work_pools/cpu", "/api/variables/name/x", "/api/csrf-token?client=x", "/ui-settings",
    "/?Action=ListUsers", "/api/admin/settings", "/docs", "/openapi.json",
)  # fmt: skip
CHANGES = (
    ("PUT", "/buckets/image-training/evil"), ("PUT", "/image-training/evil"), ("PUT", "/evil"),
    ("POST", "/buckets/image-training/evil"), ("POST", "/submit"), ("POST", "/"),
    ("DELETE", "/buckets/image-training/?recursive=true"), ("DELETE", "/image-training"), ("DELETE", "/1,01637037d6"),
    ("GET", "/col/delete?collection=image-training"), ("GET", "/vol/grow?count=1"), ("GET", "/vol/vacuum"),
    ("POST", "/api/flow_runs/filter"), ("POST", "/api/block_documents/filter"), ("POST", "/api/deployments/filter"),
    ("POST", "/api/artifacts/filter"), ("POST", "/api/logs/filter"), ("POST", "/api/work_pools/"),
    ("POST", "/api/admin/database/clear"), ("DELETE", "/api/work_pools/cpu"), ("POST", "/api/events"),
)  # fmt: skip


class Answer(NamedTuple):
    """What a stranger is told: `status` 0 where a port closes, or its TLS asks for a certificate."""

    status: int
    headers: dict[str, str]
    body: bytes


def become_nobody() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


@pytest.fixture
def stranger() -> Iterator[ProcessPoolExecutor]:
    """A process of another user, as far as we may start one; it knows no key."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork"), become_nobody) as pool:
        yield pool


def ask(port: int, asked: tuple[str, str], tls: bool) -> Answer:
    method, path = asked
    context = ssl._create_unverified_context() if tls else None
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
        if tls
        else http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    )
    with closing(connection):
        try:
            connection.request(method, path, body=b"{}", headers={"Origin": EVIL, "Host": "evil.example", **JSON})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        except (OSError, http.client.HTTPException):
            return Answer(0, {}, b"")


def opens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as tried:
        try:
            tried.connect(path)
        except OSError:
            return False
    return True


def sockets(stack: RunningStack, kind: str) -> list[Any]:
    found = []
    for process in stack.stack.processes():
        with suppress(psutil.Error):
            found += process.net_connections(kind)
    return found


def holds(stack: RunningStack) -> object:
    """All that a stranger could have changed."""
    reached = stack.environment
    s3 = boto3.client(
        "s3",
        endpoint_url=reached["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=reached["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=reached["AWS_SECRET_ACCESS_KEY"],
        region_name=reached["AWS_REGION"],
    )
    objects = {
        (bucket["Name"], each["Key"], each["ETag"])
        for bucket in s3.list_buckets()["Buckets"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"])
        for each in page.get("Contents", [])
    }
    kinds = ("deployments", "automations", "work_pools", "block_documents", "flows", "variables")
    ids = {kind: {each["id"] for each in stack.post(f"{kind}/filter")} for kind in kinds}
    return objects, ids, {run["id"] for run in stack.runs()}


def test_no_stranger_gets_in_at_any_port(stack: RunningStack, trained: Run, stranger: ProcessPoolExecutor) -> None:
    made = made_at_first_start(stack.stack.folder)
    secrets = [made.access_key, made.secret_key, made.s3_internal_key, made.prefect_login, made.prefect_login[6:]]
    secrets += [base64.b64encode(made.prefect_login.encode()).decode(), trained["id"], "model-"]
    ports = sorted({each.laddr.port for each in sockets(stack, "tcp") if each.status == psutil.CONN_LISTEN})
    assert {made.prefect_port, made.s3_ports[0]} < set(ports)
    assert {each.laddr.ip for each in sockets(stack, "tcp") if each.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    before = holds(stack)

    asked = [*product(ports, [("GET", path) for path in READS] + list(CHANGES), (False, True))]
    answers = dict(zip(asked, stranger.map(_ask, asked), strict=True))

    assert {port for (port, *_), answer in answers.items() if answer.status} >= {made.prefect_port, made.s3_ports[0]}
    told = [
        (where, secret) for where, answer in answers.items() for secret in secrets if secret.encode() in answer.body
    ]
    assert told == []
    obeyed = [
        (where, answer.status, answer.body[:80])
        for where, answer in answers.items()
        if where[1] in CHANGES and 200 <= answer.status < 300 and not is_the_front_page(answer)
    ]
    assert obeyed == []
    shared = [
        where
        for where, answer in answers.items()
        if where[0] == made.prefect_port and answer.headers.get("access-control-allow-origin") in {"*", EVIL}
    ]
    assert shared == [], "no page but the UI's own may talk to the Prefect server"
    assert holds(stack) == before


def _ask(asked: tuple[int, tuple[str, str], bool]) -> Answer:
    return ask(*asked)


def is_the_front_page(answer: Answer) -> bool:
    """A page for people that a server shows at any address; it says nothing of what is stored."""
    return answer.body.lstrip()[:9].lower() == b"<!doctype"


def test_no_stranger_opens_the_database_s_socket_or_reads_the_keys(
    stack: RunningStack, stranger: ProcessPoolExecutor
) -> None:
    paths = {str(each.laddr) for each in sockets(stack, "unix") if str(each.laddr).startswith("/")}
    assert any(".s.PGSQL" in path for path in paths)
    if os.geteuid() == 0:
        assert [path for path in paths if stranger.submit(opens, path).result()] == []
    secret = [stack.stack.env_file, stack.stack.folder / "made-at-first-start.json"]
    secret += list((stack.stack.folder / "s3-internal").glob("*key*"))
    assert [stat.S_IMODE(file.stat().st_mode) for file in secret] == [0o600] * 3


@pytest.mark.parametrize("path", ["events/in", "events/out", "logs/out"])
def test_no_stranger_sends_or_hears_events(stack: RunningStack, path: str) -> None:
    url = f"{stack.environment['PREFECT_API_URL'].replace('http', 'ws', 1)}/{path}"
    with connect(url, subprotocols=["prefect"], origin=EVIL) as events:
        events.send('{"type": "auth", "token": "guessed"}')
        with pytest.raises(ConnectionClosed):
            events.recv(timeout=10)


@pytest.mark.parametrize(
    "variables", [{"command": "touch owned"}, {"env": {"PATH": "/tmp"}}, {"working_dir": "/tmp"}, {"env.PATH": "/tmp"}]
)
def test_no_run_tells_its_worker_what_to_execute(stack: RunningStack, trained: Run, variables: dict[str, str]) -> None:
    known = {run["id"] for run in stack.runs()}
    with stack.api() as server:
        path = f"deployments/{trained['deployment_id']}/create_flow_run"
        created = server.post(path, json={"job_variables": variables})
    assert created.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert "Additional properties are not allowed" in created.text
    assert {run["id"] for run in stack.runs()} == known
