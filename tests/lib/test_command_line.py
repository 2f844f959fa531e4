"""How a command ends that Ctrl-C reaches in the middle of a library."""

import pydantic
import pytest

from lib import command_line


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
