"""`make deploy` and `make stack` where they cannot do what they are for."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from prefect.client.orchestration import SyncPrefectClient

from deployments import stack
from deployments.configuration import FILE
from deployments.deploy import check_webhook, deploy
from deployments.env_file import HEADER, env_file
from deployments.first_start import made_at_first_start
from deployments.s3_server import PORTS_NEEDED, weed_command
from deployments.version import code_version
from deployments.worker import _start_worker
from lib.errors import PermanentError
from lib.lineage.provenance import Code
from tests.running_stack import REPOSITORY

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Command:
    """Runs a command of deployments with a Prefect that knows no server."""

    def run(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=tmp_path,  # Prefect reads an .env file where it is started
            env={**kept, "PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONPATH": str(REPOSITORY), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.slow
def test_deploying_without_a_server_says_so(run: Command) -> None:
    done = run("deployments.deploy")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: PREFECT_API_URL must name the Prefect server; it is not set: set it, or start one: make stack"
    )


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_an_error_that_may_pass(run: Command) -> None:
    done = run("deployments.deploy", PREFECT_API_URL="http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES="0")
    assert done.returncode == 3
    assert "http://127.0.0.1:9/api cannot be reached: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


PROGRAMS: dict[str, tuple[str, Callable[[], object]]] = {
    "a worker": ("prefect", lambda: _start_worker(["--pool", "cpu"])),
    "deploying": ("prefect", lambda: deploy(cast(SyncPrefectClient, None), FILE, [])),
    "an S3 server": ("weed", lambda: weed_command(Path(), [0] * PORTS_NEEDED)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_is_not_beside_this_python_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, start = PROGRAMS[name]
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(PermanentError, match=f"^the program {program} must be beside {tmp_path}/python; it cannot be"):
        start()


@pytest.mark.parametrize("url", ["hooks.example/secret", "ftp://hooks.example/secret", "https://", "http://[secret"])
def test_a_webhook_that_nothing_can_be_sent_to_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(PermanentError, match="NOTIFY_WEBHOOK_URL must be") as error:
        check_webhook(url)
    assert "secret" not in str(error.value)


def test_an_empty_webhook_is_none() -> None:
    assert [check_webhook(url) for url in (None, "", "https://hooks.example/x")] == [
        None,
        None,
        "https://hooks.example/x",
    ]


@pytest.mark.slow
def test_a_file_that_is_not_as_it_must_be_reaches_no_server(run: Command, tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("deployments: []\nname: x\nbuild: []\npull: []\npools: [cpu]\n")
    done = run("deployments.deploy", "--file", str(file), PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(
        "other.yaml is not valid: pools: Extra inputs are not permitted; received ['cpu']"
    )


def test_a_stack_leaves_an_environment_file_of_others_alone(run: Command, tmp_path: Path) -> None:
    theirs = tmp_path / "env"
    theirs.write_text("SECRET=1\n")
    done = run("deployments.stack", "--folder", str(tmp_path / "stack"), "--env-file", str(theirs))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"error: {theirs} must be free for the stack's own; it is another's: move it"
    assert theirs.read_text() == "SECRET=1\n"


def test_keys_are_made_once_readable_by_their_owner_alone_and_an_older_stack_gets_those_it_lacks(
    tmp_path: Path,
) -> None:
    made = made_at_first_start(tmp_path)
    file = tmp_path / "made-at-first-start.json"
    assert made_at_first_start(tmp_path) == made
    assert file.stat().st_mode & 0o777 == 0o600
    assert made.prefect_login.startswith("admin:")
    assert len(made.prefect_login) >= 26
    older = {key: value for key, value in json.loads(file.read_text()).items() if "login" not in key}
    file.write_text(json.dumps(older))
    again = made_at_first_start(tmp_path)
    assert again.prefect_login != made.prefect_login
    assert again.model_copy(update={"prefect_login": made.prefect_login}) == made


@pytest.mark.parametrize("damaged", ['{"access_key": ["hidden"]}', '{"hidden": 1}', "[" * 100_000, "hidden", '"\\'])
def test_a_damaged_file_of_the_first_start_is_named_without_what_it_says(damaged: str, tmp_path: Path) -> None:
    (file := tmp_path / "made-at-first-start.json").write_text(damaged)
    with pytest.raises(PermanentError) as error:
        made_at_first_start(tmp_path)
    assert str(error.value).startswith(f"{file} must be as the first start wrote it; it is damaged: restore it")
    assert "hidden" not in str(error.value)


def test_the_environment_file_is_readable_by_its_owner_alone_whatever_was_there(tmp_path: Path) -> None:
    (file := tmp_path / "env").write_text(HEADER)
    file.chmod(0o644)
    with env_file(file, lambda: {"KEY": "secret"}):
        assert (file.read_text(), file.stat().st_mode & 0o777) == (f"{HEADER}KEY=secret\n", 0o600)
    assert list(tmp_path.iterdir()) == []
    file.touch()
    with pytest.raises(PermanentError, match="must be free for the stack's own"), env_file(file, dict):
        pass
    assert file.exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((option, path) for option in ("--folder", "--env-file") for path in ("file/x", "x" * 300, "loop/x")),
        ("--folder", "50%"),
        ("--gpu-trainings", "0"),
    ],
)
def test_what_a_stack_cannot_use_is_refused_by_its_option_before_keys_are_made(
    option: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    given = {"--folder": "stack", "--env-file": "env", option: value}
    with pytest.raises(PermanentError, match=f"^{option} must "):
        stack.command([f"{name}={text}" for name, text in given.items()])
    assert not list(tmp_path.rglob("made-at-first-start.json"))


CODE = Code("d061ce9" * 6, False)


@pytest.mark.parametrize(
    ("code", "image_commit", "says"),
    [
        (CODE, "", ("d061ce9d061c", "")),
        (CODE._replace(uncommitted_changes=True), "", ("d061ce9d061c-dirty", "")),
        (Code(None, None, "no git"), "fabce9" * 7, ("fabce9fabce9", "")),
        (Code(None, None, "no git"), "", ("unknown", "no git")),
    ],
)
def test_the_version_is_that_of_git_or_of_the_image_or_unknown(
    code: Code, image_commit: str, says: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.version.code", lambda: code)
    monkeypatch.setenv("IMAGE_COMMIT", image_commit)
    assert code_version() == says
