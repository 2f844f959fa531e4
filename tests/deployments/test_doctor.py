"""The doctor says of each part of an installation whether it is well, and what to do where it is not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from deployments import doctor
from deployments.checks import (
    Verdict,
    check_gpu,
    check_notifications,
    check_server,
)
from deployments.doctor import OF_THE_SERVER, attempt, command
from deployments.ports import free_ports
from lib.errors import PermanentError
from lib.settings import REPOSITORY, read_settings
from lib.store import LocalStore
from tests.web_server import web_server

KEPT = "reads, writes, creates only if absent, replaces only if unchanged"
FOLDER = "a folder, for the workers of this machine only"
NOBODY_TOLD = "not set up: nobody is told of failures. To be told: set NOTIFY_WEBHOOK_URL, then make deploy"
LOGIN = "set PREFECT_API_AUTH_STRING to its user:password; a trial stack's is in .env"
LEASE = "checkpoints/models/digits/digits-cnn/abc/lease.json"


@pytest.fixture
def closed() -> Iterator[str]:
    """A PREFECT_API_URL at which nothing answers."""
    url = f"http://127.0.0.1:{free_ports(1)[0]}/api"
    with temporary_settings({PREFECT_API_URL: url}):
        yield url


@pytest.mark.slow
def test_without_a_server_the_rest_is_checked_and_the_exit_code_is_2(closed: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "deployments.doctor", "--store", str(tmp_path / "store")],
        cwd=REPOSITORY,
        env={**os.environ, "PREFECT_API_URL": closed, "CUDA_VISIBLE_DEVICES": "", "MIRROR_URL": tmp_path.as_uri()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == ["error: 1 of 16 checks failed; their lines say what to do"]
    lines = ended.stdout.splitlines()
    assert lines[0].startswith(f"FAIL  server       the Prefect server {closed} cannot be reached: ")
    assert lines[0].endswith("; start it (make stack), or run without one: unset PREFECT_API_URL")
    assert lines[1:7] == [
        "warn  pools        not checked: no server",
        "warn  deployments  not checked: no server",
        "warn  schedules    not checked: no server",
        f"ok    notify       {NOBODY_TOLD}",
        f"ok    store        {tmp_path / 'store'}: {KEPT}; {FOLDER}",
        f"ok    mirror       {tmp_path.as_uri()} is readable",
    ]
    assert sorted(line[:18] for line in lines[7:13]) == ["ok    weights     "] * 2 + ["warn  weights     "] * 4
    assert lines[13:] == [
        "ok    gpu          none here: commands leave GPU recipes out; workers of pool gpu train them",
        "warn  clock        not checked: no server answers with a date",
        "ok    leases       none stands",
    ]


def test_what_make_train_does_not_need_is_not_set_up_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIRROR_URL", tmp_path.as_uri())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with temporary_settings({PREFECT_API_URL: None}):
        command(["--store", str(tmp_path / "store")])
    said = capsys.readouterr().out.splitlines()
    lines = {line[6:18].strip(): line for line in said}
    assert {line[:2] for line in said} == {"ok", "wa"}
    assert {line[6:18].strip() for line in said if line.startswith("warn")} == {"weights"}
    told = "PREFECT_API_URL is not set; make train needs none. To start one: make stack"
    assert lines["server"] == f"ok    server       not set up: {told}"
    for name in ("pools", "deployments", "schedules"):
        assert lines[name] == f"ok    {name:<11}  not set up"
    assert lines["clock"] == "ok    clock        not set up: there is no server to compare with"


def test_an_error_in_the_deployments_file_ends_no_other_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(store: LocalStore) -> None:
        raise PermanentError("prefect.yaml is not valid")

    monkeypatch.setattr(doctor, "read_configuration", fail)
    assert [str(verdict) for verdict in doctor._of_the_server(LocalStore(tmp_path))] == [
        "FAIL  deployments  prefect.yaml is not valid",
        "warn  pools        not checked: no deployments",
        "warn  schedules    not checked: no deployments",
    ]


@pytest.mark.parametrize("level", ["ok", "warn", "FAIL"])
def test_only_what_fails_keeps_other_checks_from_being_made(
    level: Literal["ok", "warn", "FAIL"], closed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without a password, say, has pools all the same."""
    monkeypatch.setattr(doctor, "check_server", lambda: Verdict("server", level, "as it is"))
    monkeypatch.setattr(doctor, "check_store", lambda _: Verdict("store", level, "as it is"))
    monkeypatch.setattr(doctor, "check_weights", lambda *_: Verdict("weights", "ok", "checked"))
    monkeypatch.setattr(
        doctor, "_of_the_server", lambda store: [Verdict(each, "ok", "checked") for each in OF_THE_SERVER]
    )
    settings = read_settings().model_copy(update={"store_uri": str(tmp_path)})
    found = {verdict.name: str(verdict) for verdict in doctor.examine(settings)}
    for name in (*OF_THE_SERVER, "weights", "leases"):
        assert ("not checked: no " in found[name]) == (level == "FAIL"), found[name]


def test_that_nobody_is_told_of_failures_is_said() -> None:
    assert check_notifications(None) == check_notifications("") == Verdict("notify", "ok", NOBODY_TOLD)
    assert check_notifications("https://hooks.example/secret").found.startswith("NOTIFY_WEBHOOK_URL is set")
    assert attempt("notify", check_notifications, "hooks.example/secret").level == "FAIL"


@pytest.mark.usefixtures("closed")
def test_without_a_store_the_rest_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STORE_URI", str(tmp_path / "file"))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("MIRROR_URL", tmp_path.as_uri())
    with pytest.raises(PermanentError, match=r"2 of 11 checks failed"):
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


@pytest.mark.parametrize("status", [200, 404])
def test_a_server_that_is_not_prefect_s_fails(status: int) -> None:
    with web_server(status) as url, temporary_settings({PREFECT_API_URL: url}):
        verdict = check_server()
    said = f"FAIL  server       the Prefect server {url} is not the API of a Prefect server; its address ends in /api"
    assert str(verdict).startswith(said)


@pytest.mark.parametrize(
    ("asks", "level", "says"),
    [
        (True, "ok", "answers, Prefect 3.8.8"),
        (
            False,
            "warn",
            "answers, Prefect 3.8.8, and asks for no password; start it with PREFECT_SERVER_API_AUTH_STRING",
        ),
    ],
)
def test_a_server_that_asks_nobody_for_a_password_is_told(
    asks: bool, level: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.checks.ask_server", lambda: "3.8.8")
    login = {PREFECT_API_AUTH_STRING: "admin:word"}
    with web_server(body=b'"3.8.8"', asks=asks) as url, temporary_settings({PREFECT_API_URL: url, **login}):
        verdict = check_server()
    assert str(verdict).startswith(f"{level:<4}  server       {url} {says}")


def test_gpus_are_named() -> None:
    assert check_gpu(["0", "1"]) == Verdict("gpu", "ok", "2 GPUs: 0, 1")
