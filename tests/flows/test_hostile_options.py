"""Whatever text an option is given: exit code 2, one line that no terminal obeys, and an untouched store."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deployments import deploy, doctor, stack
from flows import get, ingest, predict, promote, retention, train, train_model, verify
from lib import command_line
from lib.errors import PermanentError, printable
from lib.planning.request import CleanUpRequest
from lib.store import LocalStore

TEXTS = {
    "empty": "",
    "escape sequence": "\x1b[31mred",
    "C1 escape sequence": "\x9b31mred",
    "lines": "a\nb\r\n",
    "NUL": "a\0b",
    "surrogate": "a\udc80b",
    "right to left": "\u202egpj",
    "long": "x" * 300,
    "many digits": "9" * 5000,
    "vast number": "1e308",
    "not a number": "nan",
    "minus": "-1",
}
COMMANDS = {
    "train": (train, ["--plan", "--dataset", "cifar100", "--models", "mobilenet"]),
    "train_model": (train_model, ["--dataset", "cifar100", "--model", "mobilenet"]),
    "promote": (promote, []),
    "ingest": (ingest, []),
    "get": (get, ["--to", "nowhere"]),
    "predict": (predict, ["--input", "nowhere"]),
    "verify": (verify, ["reports/digits/0"]),
    "retention": (retention, []),
}
FOLDERS = {"long", "many digits", "vast number", "not a number", "minus", "right to left"}
"""As `--store` some of these name a folder that is not there yet, which is no error."""


def refused(run: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises((PermanentError, SystemExit)) as ended:
        run()
    said = capsys.readouterr()
    assert said.out == ""
    for line in said.err.removesuffix("\n").split("\n"):
        assert line.isprintable() or not line, line
    if isinstance(ended.value, SystemExit):
        assert ended.value.code == 2
        return said.err.splitlines()[-1]
    return str(ended.value)


def options_of(command: str) -> list[str]:
    """Those that take a value; a positional one has no name."""
    parser: argparse.ArgumentParser = COMMANDS[command][0].make_parser()
    return [(action.option_strings or [""])[0] for action in parser._actions if action.nargs != 0]


@pytest.mark.parametrize(
    ("command", "option", "text"),
    [
        (command, option, text)
        for command in COMMANDS
        for option in options_of(command)
        for text in TEXTS
        if not (option == "--store" and text in FOLDERS)
    ],
)
def test_no_option_takes_what_it_cannot_use(
    command: str,
    option: str,
    text: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, given = COMMANDS[command]
    monkeypatch.setenv("STORE_URI", str(tmp_path / "store"))
    for name in ("check_ready", "start_keras_quietly"):
        monkeypatch.setattr(module, name, stop if name == "check_ready" else lambda: None, raising=False)
    value = TEXTS[text]
    arguments = [*given, f"{option}={value}"] if option else [value] if not value.startswith("-") else ["--", value]
    said = refused(lambda: module.command(arguments), capsys)
    assert said.isprintable()
    assert len(said) < 1000
    assert not (tmp_path / "store").exists()


def stop(store: object) -> None:
    raise PermanentError("before anything is made")


@pytest.mark.parametrize("module", [deploy, doctor, stack, *(module for module, _ in COMMANDS.values())])
def test_an_option_that_no_command_has_is_said_without_its_escape_sequences(
    module: object, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = ["--\x1b[31mred", "\x9b31m", "x" * 5000]
    said = refused(lambda: module.make_parser().parse_args(unknown), capsys)  # type: ignore[attr-defined]
    assert "\\x1b[31mred" in said or "required" in said
    assert len(said) < 700


def test_what_a_terminal_would_obey_is_shown() -> None:
    assert printable("a\x1b[31m\n\tb\x9b\u202e\udc80\0é→") == "a\\x1b[31m  b\\x9b\\u202e\\udc80\\x00é→"
    assert str(PermanentError("a\x1b[31m\nb")) == "a\\x1b[31m b"


def test_a_name_in_the_store_is_listed_without_its_escape_sequences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "raw" / "\x1b[31m").mkdir(parents=True)
    (file := tmp_path / "raw" / "\x1b[31m" / f".partial-{0:032x}").touch()
    os.utime(file, (0, 0))
    retention.clean_up(LocalStore(tmp_path), CleanUpRequest(), False, "", print)
    assert f"would remove  raw/\\x1b[31m/.partial-{0:032x}  " in capsys.readouterr().out


def test_an_environment_file_that_is_a_link_that_leads_nowhere_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (link := tmp_path / ".env").symlink_to("nowhere")
    monkeypatch.setattr(command_line, "ENV_FILE", link)
    monkeypatch.setattr("sys.excepthook", None)
    monkeypatch.delenv("ENV_FILE", raising=False)
    with pytest.raises(PermanentError, match=r"ENV_FILE must name a file that can be read; .* that leads nowhere"):
        command_line.begin()
