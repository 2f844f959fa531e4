"""The file of variables that every command reads."""

import os
from pathlib import Path

import pytest

from lib import command_line, environment_file
from lib.environment_file import read_env_file
from lib.errors import PermanentError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("STORE_URI", "KEPT", "QUOTED", "EMPTY", "PATHS"):
        monkeypatch.setenv(name, "")  # so that it is unset again afterwards
        monkeypatch.delenv(name)
    monkeypatch.setattr(environment_file, "_from_file", {})
    return tmp_path / "an environment file"


def test_the_environment_file_sets_what_the_environment_does_not(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEPT", "the environment's")
    lines = b"STORE_URI=s3://b/x\r\nexport KEPT=other\r\nQUOTED='a b $c'\r\nEMPTY=\r\nPATHS=$HOME/x\r\n"
    file.write_bytes(b"# comment\r\n" + lines)
    read_env_file(file)
    found = {name: os.environ[name] for name in ("STORE_URI", "KEPT", "QUOTED", "EMPTY", "PATHS")}
    assert found == {
        "STORE_URI": "s3://b/x", "KEPT": "the environment's", "QUOTED": "a b $c", "EMPTY": "", "PATHS": "$HOME/x",
    }  # fmt: skip
    command_line.say_store("s3://b/x")
    command_line.say_store("/chosen")
    assert capsys.readouterr().err == f"Store: s3://b/x (STORE_URI of {file})\nStore: /chosen\n"


@pytest.mark.parametrize("line", ["STORE_URI", "STORE URI=x", "='x'"])
def test_a_line_that_sets_nothing_is_refused(line: str, file: Path) -> None:
    file.write_text(f"A_NAME=1\n{line}\n")
    with pytest.raises(PermanentError, match=r"must have lines as NAME=VALUE; received line 2"):
        read_env_file(file)


def test_two_values_of_a_variable_are_refused_and_not_shown(file: Path) -> None:
    file.write_text("KEPT=1\nKEPT=1\nSTORE_URI=secret\nQUOTED=\nexport STORE_URI='other secret'\n")
    with pytest.raises(PermanentError, match="must give each variable one value; received two of STORE_URI") as error:
        read_env_file(file)
    assert str(error.value).endswith(", in lines 3 and 5: remove one")
    assert "secret" not in str(error.value)
    assert "STORE_URI" not in os.environ
