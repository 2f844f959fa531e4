"""`deployments.worker` ends after what its worker has started, where it was asked to stop."""

import os
import signal
import site
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.worker import TEMPLATE, command
from tests.running_stack import REPOSITORY
from tests.tasks.test_server import CLOSED, silent
from tests.web_server import prefect_api

SAVING_S = 1.5
PYTHONPATH = os.pathsep.join((str(REPOSITORY), *site.getsitepackages()))
"""A link to a Python elsewhere does not find what is installed beside it."""
STARTS = f"worker start --type process --base-job-template {TEMPLATE}"
PREFECT = f"""#!/bin/sh
# As Prefect's worker does: gone as soon as it is asked, and what it has started goes on alone.
(trap '' TERM INT; while kill -0 $$ 2> /dev/null; do sleep 0.1; done; sleep {SAVING_S}; echo saved >> "$SAID") &
trap 'exit 7' TERM INT
echo "$@" >> "$SAID"
while :; do sleep 0.1; done
"""


@pytest.fixture
def said(tmp_path: Path) -> Path:
    """What the worker and its training have said; the worker's command lies beside it."""
    prefect = tmp_path / "prefect"
    prefect.write_text(PREFECT)
    prefect.chmod(0o755)
    (tmp_path / "python").symlink_to(sys.executable)
    return tmp_path / "said"


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    with prefect_api() as url:
        yield url


def _heed_all() -> None:
    """A background job ignores Ctrl-C, and one of `nohup` the end of its terminal."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def worker(said: Path, api: str) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [said.with_name("python"), "-m", "deployments.worker", "--pool", "cpu"],
        env={**os.environ, "SAID": str(said), "PYTHONPATH": PYTHONPATH, "PREFECT_API_URL": api},
        preexec_fn=_heed_all,  # noqa: PLW1509
    )
    while not said.exists():
        assert process.poll() is None
        time.sleep(0.05)
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_asked_to_stop_it_waits_until_the_training_has_saved_its_state(
    worker: "subprocess.Popen[bytes]", said: Path, number: signal.Signals
) -> None:
    worker.send_signal(number)
    worker.send_signal(number)
    assert worker.wait(20) == 7, "the worker's own exit code"
    assert said.read_text().splitlines() == [f"{STARTS} --pool cpu", "saved"]


def test_where_the_worker_is_killed_it_ends_at_once_so_that_another_is_started(
    worker: "subprocess.Popen[bytes]", said: Path
) -> None:
    started = time.monotonic()
    (child,) = _children(worker.pid)
    os.kill(child, signal.SIGKILL)
    assert worker.wait(20) != 0
    assert time.monotonic() - started < SAVING_S
    assert "saved" not in said.read_text()


def test_killed_itself_it_leaves_no_worker_behind(worker: "subprocess.Popen[bytes]", said: Path) -> None:
    (child,) = _children(worker.pid)
    worker.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()


def test_its_help_explains_it_and_prefects_follows(said: Path) -> None:
    said.with_name("prefect").write_text('#!/bin/sh\necho "$@"\n')
    done = subprocess.run(
        [said.with_name("python"), "-m", "deployments.worker", "--help"],
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("usage: python -m deployments.worker --pool NAME ")
    assert "This worker waits for them." in done.stdout
    assert done.stdout.splitlines()[-1] == f"{STARTS} --help"


@pytest.mark.parametrize(("level", "heeded"), [("DEBUG", ""), ("10", ""), ("INFO", ""), ("ERROR", "ERROR")])
def test_no_level_of_all_loggers_has_libraries_log_the_servers_password(level: str, heeded: str, said: Path) -> None:
    said.with_name("prefect").write_text('#!/bin/sh\necho "level: $PREFECT_LOGGING_ROOT_LEVEL"\n')
    done = subprocess.run(
        [said.with_name("python"), "-m", "deployments.worker", "--help"],
        env={**os.environ, "PYTHONPATH": PYTHONPATH, "PREFECT_LOGGING_ROOT_LEVEL": level},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == f"level: {heeded}"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("", "the following arguments are required: --pool/-p"),
        ("--limit 2", "the following arguments are required: --pool/-p"),
        ("--pool=", "must name a work pool; received nothing"),
        ("--pool cpu --limit 0", "must be a whole number of at least 1; received '0'"),
        ("--pool cpu --limit -1", "must be a whole number of at least 1; received '-1'"),
        ("-p cpu -l=x", "must be a whole number of at least 1; received '"),
    ],
)
def test_options_that_prefect_would_take_for_others_are_refused(
    options: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command(options.split())
    assert ended.value.code == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_options_are_handed_on_to_prefect_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["--pool", "cpu", "--limit", "3", "--work-queue", "a", "b", "--with-healthcheck", "--name", "x"]
    monkeypatch.setattr("deployments.worker.main", lambda arguments: 7 if arguments == given else 1)
    assert command(given) == 7


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        ("", 2, "error: PREFECT_API_URL must name the Prefect server; it is not set: set it, or start one: make stack"),
        ("refuses", 2, "error: the Prefect server … refuses us; set PREFECT_API_AUTH_STRING to its user:password"),
        (f"http://{CLOSED}/api", 3, "error: the Prefect server … cannot be reached: "),
        (f"http://{CLOSED}/api in a file", 3, "error: the Prefect server … (set by "),
    ],
)
def test_where_no_server_serves_it_it_says_so_and_starts_no_worker(
    url: str, code: int, says: str, said: Path, tmp_path: Path
) -> None:
    url, _, in_file = url.partition(" ")
    (file := tmp_path / "env").write_text(f"PREFECT_API_URL={url}\n" if in_file else "")
    with prefect_api(refuses=True) as refusing:
        url = refusing if url == "refuses" else url
        done = subprocess.run(
            [said.with_name("python"), "-m", "deployments.worker", "--pool", "cpu"],
            cwd=tmp_path,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
                "PREFECT_HOME": str(tmp_path / "home"),
                "PYTHONPATH": PYTHONPATH,
                "ENV_FILE": str(file),
                **({} if in_file or not url else {"PREFECT_API_URL": url}),
            },
            capture_output=True,
            text=True,
            check=False,
        )
    (line,) = done.stderr.splitlines()
    assert says.replace("…", url) in line
    assert "without one" not in line, "a worker needs one"
    assert done.returncode == code
    assert not said.exists()


def test_asked_to_stop_while_it_asks_the_server_it_starts_no_worker(said: Path) -> None:
    with silent() as at:
        process = subprocess.Popen(
            [said.with_name("python"), "-m", "deployments.worker", "--pool", "cpu"],
            env={**os.environ, "PYTHONPATH": PYTHONPATH, "PREFECT_API_URL": f"http://{at}/api"},
            stderr=subprocess.PIPE,
            text=True,
        )
        while not _children(process.pid):
            time.sleep(0.05)
        time.sleep(1)
        process.terminate()
        _, printed = process.communicate(timeout=20)
    assert printed == "error: asked to stop; start the worker again\n"
    assert process.returncode == 143
    assert not said.exists()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
