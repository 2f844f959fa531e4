"""Environments that are hostile or bare: a command works in them, or says on one line what to set."""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from lib.settings import REPOSITORY

LISTS, PLANS = "-m flows", "-m flows.train --plan --models digits-softmax"

FULL = "must be writable; received: No space left on device"

UNREADABLE = "error: Prefect must be able to read its settings; received "


class Case(NamedTuple):
    """`{python}` in a shell, and how it must end."""

    command: str
    code: int
    says: str = ""
    """In the last line of standard error; nothing at all is there where this is empty."""
    environment: tuple[str, str] = ("KEPT", "")
    without: str = ""


ENVIRONMENTS = {
    "nobody reads on": Case(f"set -o pipefail; {{python}} {LISTS} | (exec <&-; sleep 0.5)", 141),
    "no standard output": Case(f"{{python}} {LISTS} >&-", 0),
    "no standard error": Case(f"{{python}} {LISTS} 2>&-", 0),
    "no output at all": Case(f"{{python}} {LISTS} >&- 2>&-", 0),
    "no standard input": Case(f"{{python}} {LISTS} <&-", 0),
    "a full disk": Case(f"{{python}} {LISTS} >/dev/full", 2, f"error: standard output {FULL}"),
    "a full disk, unbuffered": Case(
        f"{{python}} {LISTS} >/dev/full", 2, f"error: standard output {FULL}", ("PYTHONUNBUFFERED", "1")
    ),
    "a full disk for errors": Case(
        f"{{python}} {LISTS} bogus 3>&2 2>/dev/full >&3", 2, "error: unknown command 'bogus'; known: train"
    ),
    "ASCII only": Case(f"{{python}} {LISTS}", 0, environment=("PYTHONIOENCODING", "ascii")),
    "no home": Case(f"{{python}} {LISTS}", 0, without="HOME"),
    "an environment file that is not there": Case(
        f"{{python}} {LISTS}", 2, "error: ENV_FILE must name a file that can be read; received /no", ("ENV_FILE", "/no")
    ),
    "a folder in its place": Case(f"{{python}} {LISTS}", 2, "Is a directory", ("ENV_FILE", "/")),
    "a large one": Case(
        f"head -c 2000000 /dev/zero > $STORE_URI; ENV_FILE=$STORE_URI {{python}} {LISTS}",
        2,
        "error: ENV_FILE must name a file of at most 1,048,576 bytes; ",
    ),
    "no environment file": Case(f"{{python}} {LISTS}", 0, environment=("ENV_FILE", "/dev/null")),
    "a SOCKS proxy": Case(
        f"{{python}} {LISTS}",
        2,
        "error: ALL_PROXY must name an HTTP proxy, such as http://host:3128 (SOCKS is not supported); else unset "
        "ALL_PROXY; received ",
        ("ALL_PROXY", "socks5h://127.0.0.1:1080"),
    ),
    "a folder that was removed": Case(
        f"mkdir $PREFECT_HOME; cd $PREFECT_HOME; rmdir $PREFECT_HOME; PYTHONPATH=$OLDPWD {{python}} {LISTS}",
        2,
        "error: the current folder is gone (No such file or directory): change to another",
    ),
    **{
        f"a FIFO as {name}": Case(
            f"mkdir $PREFECT_HOME; cd $PREFECT_HOME; mkfifo {name}; PYTHONPATH=$OLDPWD {{python}} {LISTS}",
            2,
            f"/{name} must be a regular file; received another kind (Is a FIFO): remove it",
        )
        for name in ("profiles.toml", "prefect.toml", "pyproject.toml", ".env", "logging.yml")
    },
    "no space for temporary files": Case(
        f"ulimit -f 0; {{python}} {LISTS}", 2, "error: a temporary folder must be there, and writable; set TMPDIR"
    ),
}
SLOW = {
    "garbage in Prefect's profiles": Case(
        f"mkdir $PREFECT_HOME; echo 'x [[' > $PREFECT_HOME/profiles.toml; {{python}} {PLANS}", 2, UNREADABLE
    ),
    "bytes in Prefect's profiles": Case(
        f"mkdir $PREFECT_HOME; printf '\\xff' > $PREFECT_HOME/profiles.toml; {{python}} {PLANS}", 2, UNREADABLE
    ),
    "garbage in prefect.toml": Case(
        f"mkdir $PREFECT_HOME; cd $PREFECT_HOME; echo 'x [[' > prefect.toml; PYTHONPATH=$OLDPWD {{python}} {PLANS}",
        2,
        UNREADABLE,
    ),
    "help on a full disk": Case("{python} -m flows.verify --help >/dev/full", 2, f"error: standard output {FULL}"),
    "help on a full disk, unbuffered": Case(
        "{python} -m flows.verify --help >/dev/full", 2, f"error: standard output {FULL}", ("PYTHONUNBUFFERED", "1")
    ),
    "another package of a name": Case(
        f"mkdir $PREFECT_HOME; touch $PREFECT_HOME/pydantic.py; PYTHONPATH=$PREFECT_HOME {{python}} {PLANS}",
        2,
        "error: the Python package pydantic must be the one that is installed here; received ",
    ),
    "a plan on a full disk": Case(f"{{python}} {PLANS} >/dev/full", 2, f"error: standard output {FULL}"),
    "a plan, a full disk for errors": Case(
        f"{{python}} {PLANS} 3>&2 2>/dev/full >&3", 2, f"error: standard error {FULL}"
    ),
    "a plan, a full disk for errors, unbuffered": Case(
        f"{{python}} {PLANS} 3>&2 2>/dev/full >&3", 2, f"error: standard error {FULL}", ("PYTHONUNBUFFERED", "1")
    ),
    "an unknown recipe on a full disk": Case(
        f"{{python}} {PLANS} --models nope >/dev/full", 2, "error: unknown recipe 'nope'", ("PYTHONUNBUFFERED", "1")
    ),
    "a plan without standard error": Case(f"{{python}} {PLANS} 2>&-", 0),
    "a plan without any stream": Case(f"{{python}} {PLANS} <&- >&- 2>&-", 0),
    "a setting of Prefect's": Case(
        f"{{python}} {PLANS}",
        2,
        "; received 'x'; check PREFECT_API_REQUEST_TIMEOUT",
        ("PREFECT_API_REQUEST_TIMEOUT", "x"),
    ),
    "ASCII only": Case(f"{{python}} {PLANS}", 0, "Store: ", ("PYTHONIOENCODING", "ascii")),
    "no home": Case(f"{{python}} {PLANS}", 0, "Store: ", without="HOME"),
    "nobody reads on": Case(f"set -o pipefail; {{python}} {PLANS} | (exec <&-; sleep 9)", 141, "Store: "),
    "no Prefect server": Case(
        "{python} -m flows.ingest", 3, "cannot be reached: ", ("PREFECT_API_URL", "http://127.0.0.1:9/api")
    ),
    "nobody reads the log on": Case(
        "set -o pipefail; {python} -m flows.ingest 2>&1 | head -1", 141, without="PREFECT_API_URL"
    ),
    "a password of servers": Case(
        "{python} -m flows.ingest",
        0,
        "Stopping temporary server",
        ("PREFECT_SERVER_API_AUTH_STRING", "admin:secret"),
        without="PREFECT_API_URL",
    ),
    "another server's Redis": Case(
        "{python} -m flows.ingest",
        0,
        "Stopping temporary server",
        ("PREFECT_MESSAGING_BROKER", "prefect_redis.messaging"),
        without="PREFECT_API_URL",
    ),
    **{
        f"a temporary server although {name} is set for another": Case(
            "{python} -m flows.ingest", 0, "Stopping temporary server", (name, value), without="PREFECT_API_URL"
        )
        for name, value in {
            "PREFECT_API_DATABASE_MIGRATE_ON_START": "false",
            "PREFECT_SERVER_API_MAX_PARAMETER_SIZE": "5",
            "PREFECT_SERVER_EVENTS_MAXIMUM_EVENT_NAME_LENGTH": "3",
            "PREFECT_SERVER_EVENTS_MAXIMUM_SIZE_BYTES": "10",
        }.items()
    },
    **{
        f"certificates that are none, {name}": Case(
            f"{command}; code=$?; [ ! -e $STORE_URI ] && exit $code",
            2,
            "error: PREFECT_API_SSL_CERT_FILE must name a file of CA certificates; received /none.pem: No such file",
            ("PREFECT_API_SSL_CERT_FILE", "/none.pem"),
            without="PREFECT_API_URL",
        )
        for name, command in {
            "flows.ingest": "{python} -m flows.ingest",
            "flows.train": "{python} -m flows.train --models digits-softmax",
            "deploying": "PREFECT_API_URL=https://127.0.0.1:9/api {python} -m deployments.deploy",
            "a worker": "PREFECT_API_URL=https://127.0.0.1:9/api {python} -m deployments.worker --pool cpu",
        }.items()
    },
    "a profile that says nothing of servers": Case(
        'mkdir $PREFECT_HOME; printf \'active = "mine"\n[profiles.mine]\nPREFECT_LOGGING_LEVEL = "INFO"\n\' '
        "> $PREFECT_HOME/profiles.toml; {python} -m flows.ingest",
        0,
        "Stopping temporary server",
        without="PREFECT_API_URL",
    ),
    "a serializer that is none": Case(
        "{python} -m flows.ingest",
        2,
        "; check PREFECT_RESULTS_DEFAULT_SERIALIZER",
        ("PREFECT_RESULTS_DEFAULT_SERIALIZER", "none"),
        without="PREFECT_API_URL",
    ),
    "a temporary server that is late": Case(
        "{python} -m flows.ingest",
        3,
        "was not ready within 1 s; run again, or set PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS to more",
        ("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "1"),
        without="PREFECT_API_URL",
    ),
    "all warnings are errors": Case(
        "{python} -m flows.ingest",
        0,
        "Stopping temporary server",
        ("PYTHONWARNINGS", "error"),
        without="PREFECT_API_URL",
    ),
    "a dead database": Case(
        "HTTP_PROXY=http://127.0.0.1:9 {python} -m flows.ingest",
        3,
        "its database cannot be reached",
        ("PREFECT_API_DATABASE_CONNECTION_URL", "postgresql+asyncpg://u:p@127.0.0.1:9/x"),
        without="PREFECT_API_URL",
    ),
}


def run(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_URI", str(tmp_path / "store"))
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    monkeypatch.setenv(*case.environment)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.delenv(case.without, raising=False)
    script = case.command.format(python=sys.executable)
    done = subprocess.run(["bash", "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == case.code, done.stderr
    assert "Traceback" not in done.stderr
    assert (case.says in done.stderr.splitlines()[-1]) if case.says else done.stderr == ""


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_command_copes_with_its_environment(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(ENVIRONMENTS[name], tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_a_command_of_flows_copes_with_its_environment(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(SLOW[name], tmp_path, monkeypatch)


def test_what_prefect_says_itself_of_a_setting_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_CLIENT_CUSTOM_HEADERS", '["Authorization: secret"]')
    command = [sys.executable, "-m", "flows.train", "--plan"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "custom_headers: Input should be a valid dictionary; received what is not shown" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.slow
def test_a_run_whose_temporary_server_is_killed_ends_soon_and_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    command = [sys.executable, "-m", "flows.train", "--models", "digits-cnn", "--store", str(tmp_path / "store")]
    flow = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: any((tmp_path / "store").rglob("*.npz")))
    for child in psutil.Process(flow.pid).children():
        if "tasks.temporary_server" in child.cmdline():
            child.kill()
    said = flow.communicate(timeout=10)[1]
    assert flow.returncode == 3
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("error: Prefect's temporary server ended; run the same command again")
    assert any((tmp_path / "store").rglob("*.npz"))


@pytest.mark.slow
def test_a_killed_run_without_a_server_leaves_no_process_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = str(tmp_path / "prefect")
    monkeypatch.setenv("PREFECT_HOME", home)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    command = [sys.executable, "-m", "flows.ingest", "--store", str(tmp_path / "store")]
    killed = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    wait_until(lambda: (tmp_path / "prefect" / "prefect.db").exists() and len(processes(home)) > 1)
    killed.kill()
    killed.wait()
    wait_until(lambda: not processes(home))


def processes(home: str) -> list[str]:
    """All that have this PREFECT_HOME."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"PREFECT_HOME={home}\0".encode() in environment.read_bytes() + b"\0":
                found.append(environment.parent.name)
    return found


def wait_until(holds: Callable[[], bool], within_s: float = 120) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)
