"""Another user of the machine, and any page in its owner's browser, get nothing from a stack and change nothing."""

import base64
import os
import socket
import stat
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import boto3
import httpx
import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from deployments.first_start import made_at_first_start
from tests.job_processes import is_job
from tests.running_stack import FINAL, Run, RunningStack
from tests.strangers import EVIL, ask, asked_of, obeyed, obeys_grpc, told

pytestmark = pytest.mark.stack


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


def is_quiet(stack: RunningStack) -> bool:
    """Whether no run is under way or due: the server ends the trainings of a cancelled run up to 20 s later."""
    due = [run for run in stack.runs() if datetime.fromisoformat(run["expected_start_time"]) <= datetime.now(UTC)]
    return all(run["state"]["type"] in FINAL for run in due) and not any(map(is_job, stack.stack.processes()))


def holds(stack: RunningStack) -> set[tuple[str, ...]]:
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
    ids = {(kind, each["id"]) for kind in kinds for each in stack.post(f"{kind}/filter")}
    return objects | ids | {("flow_runs", run["id"]) for run in stack.runs()}


def test_no_stranger_gets_in_at_any_port(stack: RunningStack, trained: Run, stranger: ProcessPoolExecutor) -> None:
    made = made_at_first_start(stack.stack.folder)
    secrets = [made.access_key, made.secret_key, made.s3_internal_key, made.prefect_login, made.prefect_login[6:]]
    secrets += [base64.b64encode(made.prefect_login.encode()).decode(), trained["id"], "digits-softmax"]
    ports = sorted({each.laddr.port for each in sockets(stack, "tcp") if each.status == psutil.CONN_LISTEN})
    assert {made.prefect_port, made.s3_ports[0]} < set(ports)
    assert {each.laddr.ip for each in sockets(stack, "tcp") if each.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    stack.wait_until(lambda: is_quiet(stack), "the runs of other tests to end", 120)
    before = holds(stack)

    asked = asked_of(ports)
    answers = dict(zip(asked, stranger.map(ask, asked), strict=True))

    assert {port for (port, *_), answer in answers.items() if answer.status} >= {made.prefect_port, made.s3_ports[0]}
    assert told(answers, secrets) == []
    assert obeyed(answers) == []
    assert [port for port in ports if stranger.submit(obeys_grpc, port).result()] == []
    shared = [
        where
        for where, answer in answers.items()
        if where[0] == made.prefect_port and answer.headers.get("access-control-allow-origin") in {"*", EVIL}
    ]
    assert shared == [], "no page but the UI's own may talk to the Prefect server"
    assert holds(stack) ^ before == set()


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
