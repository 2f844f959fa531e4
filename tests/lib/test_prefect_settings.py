"""What a command says of settings with which Prefect cannot be imported: one line, with the place and no secret."""

from pathlib import Path

import pytest
from prefect.logging.configuration import load_logging_config
from prefect.results import get_default_result_serializer
from prefect.settings import (
    PREFECT_PROFILES_PATH,
    PREFECT_RESULTS_DEFAULT_SERIALIZER,
    get_current_settings,
    load_profiles,
    temporary_settings,
)

from lib import command_line, prefect_settings
from lib.errors import PermanentError

UNREADABLE = "error: Prefect must be able to read its settings; received "


@pytest.mark.parametrize("content", [b"x [[", b"\xff\xfe", b"[profiles]\na = 5"], ids=["garbage", "bytes", "a number"])
def test_settings_that_prefect_cannot_read_are_one_line(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "profiles.toml").write_bytes(content)
    codes: list[int] = []
    monkeypatch.setattr("lib.command_line.os._exit", codes.append)
    with (
        temporary_settings({PREFECT_PROFILES_PATH: tmp_path / "profiles.toml"}),
        pytest.raises(ValueError, match=r".") as error,
    ):
        load_profiles()
    command_line._explain_uncaught(error.type, error.value, error.tb)
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(UNREADABLE)
    assert codes == [2]


LOUD = "level: Input should be 'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'; received 'LOUD'; check {}"
REFUSED_SETTINGS = {
    "a profile": (
        "profiles.toml",
        'active = "mine"\n[profiles.mine]\nPREFECT_LOGGING_LEVEL = "LOUD"\n',
        LOUD.format("{folder}/profiles.toml"),
    ),
    "pyproject.toml": (
        "pyproject.toml",
        "[tool.prefect]\napi.url = 5 # no text\n",
        "url: Input should be a valid string; received 5; check {folder}/pyproject.toml",
    ),
    "prefect.toml": ("prefect.toml", '[logging]\nlevel = "LOUD"\n', LOUD.format("{folder}/prefect.toml")),
    ".env": (".env", "PREFECT_LOGGING_LEVEL=LOUD\n", LOUD.format("{folder}/.env")),
    "the environment": ("PREFECT_LOGGING_LEVEL", "LOUD", LOUD.format("PREFECT_LOGGING_LEVEL")),
    "headers that are no JSON": (
        "PREFECT_CLIENT_CUSTOM_HEADERS",
        "secret",
        'value for field "custom_headers" from source "EnvFilterSettingsSource"; check PREFECT_CLIENT_CUSTOM_HEADERS',
    ),
    "headers that are no text": (
        "prefect.toml",
        '[client.custom_headers]\nA = ["secret"]\n',
        "custom_headers.A: Input should be a valid string; received what is not shown; check variables that begin with "
        "PREFECT_, profiles.toml in PREFECT_HOME (~/.prefect), and prefect.toml, pyproject.toml, .env in this folder",
    ),
}


@pytest.mark.parametrize("name", REFUSED_SETTINGS)
def test_a_setting_that_prefect_refuses_is_named_with_its_place(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, content, expected = REFUSED_SETTINGS[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "profiles.toml"))
    if place.startswith("PREFECT_"):
        monkeypatch.setenv(place, content)
    else:
        (tmp_path / place).write_text(content)
    monkeypatch.setattr("prefect.context.SettingsContext.get", lambda: None)
    with pytest.raises(ValueError, match=r".") as error:
        get_current_settings()
    said = f"error: {prefect_settings.explain(error.value)}"
    assert said.startswith(UNREADABLE)
    assert said.endswith(expected.format(folder=tmp_path))
    assert "PydanticUndefined" not in said
    assert "secret" not in said


def test_what_prefect_reads_later_is_one_line_too(tmp_path: Path) -> None:
    (tmp_path / "logging.yml").write_text("version: [")
    with temporary_settings({PREFECT_RESULTS_DEFAULT_SERIALIZER: "none"}):
        for read, place in (
            (lambda: load_logging_config(tmp_path / "logging.yml"), "PREFECT_LOGGING_SETTINGS_PATH"),
            (get_default_result_serializer, "PREFECT_RESULTS_DEFAULT_SERIALIZER"),
        ):
            with pytest.raises(Exception, match=r".") as error:
                read()
            said = str(prefect_settings.explain(error.value))
            assert f"error: {said}".startswith(UNREADABLE)
            assert f"; check {place}" in said
            assert "\n" not in said


@pytest.mark.parametrize("variable", ["PREFECT_HOME", "PREFECT_LOGGING_SETTINGS_PATH", "PREFECT_LOGGING_CONFIG_PATH"])
@pytest.mark.parametrize("content", ["", "just text", "- 1", "5"])
def test_settings_of_logging_that_are_no_mapping_are_named_with_their_file(
    variable: str, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file := tmp_path / "logging.yml").write_text(content)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "none"))
    monkeypatch.setenv(variable, str(tmp_path if variable == "PREFECT_HOME" else file))
    with pytest.raises((AttributeError, TypeError)):
        load_logging_config(file)
    with pytest.raises(PermanentError, match=f"^{file} must be a YAML mapping .*; received "):
        prefect_settings.check_files()


@pytest.mark.parametrize("content", ["version: 1\nlevel: ${PREFECT_LOGGING_LEVEL}\n", "{a: ${B}}", "x: ["])
def test_a_mapping_is_left_to_prefect(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "logging.yml").write_text(content)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    prefect_settings.check_files()
