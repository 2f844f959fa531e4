"""How a command ends that Ctrl-C, or the end of who reads it, reaches in the middle of a library."""

import os
import subprocess
import sys
from collections.abc import Callable

import pydantic
import pytest
from rich.console import Console

from lib import command_line
from lib.errors import PermanentError
from lib.settings import REPOSITORY


class Interrupted(pydantic.BaseModel):
    """What Ctrl-C hits while pydantic writes it."""

    @pydantic.model_serializer
    def written(self) -> str:
        raise KeyboardInterrupt


def hit() -> None:
    Interrupted().model_dump_json()


def test_ctrl_c_while_settings_are_read_is_an_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []
    monkeypatch.setattr("lib.command_line.os._exit", codes.append)
    with pytest.raises(BaseException, match="KeyboardInterrupt") as error:
        hit()
    command_line._explain_uncaught(error.type, error.value, error.tb)
    assert (codes, capsys.readouterr().err) == ([130], "error: interrupted\n")


def test_ctrl_c_in_the_middle_of_a_command_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[int, str]] = []
    monkeypatch.setattr(command_line, "_errors", said)
    monkeypatch.setattr("lib.command_line.atexit.register", lambda work: None)
    monkeypatch.setattr("lib.command_line.signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        command_line.main_of(hit, "run it again")
    assert (ended.value.code, said) == (130, [(130, "interrupted; run it again")])


def test_ctrl_c_before_a_command_has_loaded_anything_is_an_interruption() -> None:
    script = "import lib.packages; lib.packages.tell_missing(); raise KeyboardInterrupt"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")


def to_nobody() -> None:
    """What Prefect's log does where nobody reads standard error."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody:
        Console(file=nobody).print("a line of the log")


@pytest.mark.parametrize(("ends", "code"), [(to_nobody, 141), (lambda: sys.exit(3), 3)], ids=["nobody", "by itself"])
def test_a_log_that_nobody_reads_on_ends_the_command_as_its_output_would(
    ends: Callable[[], None], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []
    monkeypatch.setattr(command_line, "leave", left.append)
    monkeypatch.setattr("os.dup2", lambda *_: None)  # rich's own, which would end the output of the tests
    monkeypatch.setattr("lib.command_line.atexit.register", lambda work: None)
    monkeypatch.setattr("lib.command_line.signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        command_line.main_of(ends)
    assert (ended.value.code, left) == (code, [1, 2] if code == 141 else [])


def test_a_user_without_a_home_is_told_to_set_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(PermanentError, match=r"must have a home folder; .*: set HOME"):
        command_line._check_folders()
