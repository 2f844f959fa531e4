"""Advice to take back a setting names the place that it comes from."""

import os
from pathlib import Path

import pytest
from prefect.context import get_settings_context
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_EPHEMERAL_ENABLED, Settings, temporary_settings

from lib import environment_file
from tasks.places import how_to_unset
from tasks.server import explain
from tests.tasks.test_server import CLOSED

URL = f"http://{CLOSED}/api"
PLACES = {
    "pyproject.toml": (f'[tool.prefect.api]\nurl = "{URL}"\n', "remove api.url from {folder}/pyproject.toml"),
    "prefect.toml": (f'[api]\nurl = "{URL}"\n', "remove api.url from {folder}/prefect.toml"),
    ".env": (f"PREFECT_API_URL={URL}\n", "remove PREFECT_API_URL from {folder}/.env"),
}
"""From the one that Prefect asks last."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current one; nothing is set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", "")  # so that it is unset again afterwards
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setattr(environment_file, "_from_file", {})
    return tmp_path


def test_it_names_the_first_of_the_places_that_prefect_reads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (content, advice) in PLACES.items():
        (folder / name).write_text(content)
        assert Settings().api.url == URL
        assert how_to_unset(PREFECT_API_URL) == advice.format(folder=folder)
    monkeypatch.setenv("PREFECT_API_URL", URL)
    assert how_to_unset(PREFECT_API_URL) == "unset PREFECT_API_URL"


def test_it_names_the_environment_file_of_all_commands(folder: Path) -> None:
    (file := folder / "installation.env").write_text(f"PREFECT_API_URL={URL}\n")
    environment_file.read_env_file(file)
    assert os.environ["PREFECT_API_URL"] == URL
    with temporary_settings({PREFECT_API_URL: URL}):
        said = str(explain(ConnectionError("Failed to reach API")))
    assert said.startswith(f"the Prefect server {URL} (set by {file}) cannot be reached: ")
    assert said.endswith(f"; start it (make stack), or run without one: remove PREFECT_API_URL from {file}")


def test_it_names_the_command_that_changes_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(get_settings_context().profile.settings, PREFECT_API_URL, URL)
    assert how_to_unset(PREFECT_API_URL) == "prefect config unset PREFECT_API_URL"


def test_a_file_that_is_not_as_it_must_be_is_passed_over(folder: Path) -> None:
    (folder / "prefect.toml").write_text("x [[")
    (folder / "pyproject.toml").write_text("tool = 5")
    (folder / ".env").write_bytes(b"\xff")
    assert how_to_unset(PREFECT_API_URL) == "unset PREFECT_API_URL"


def test_it_names_a_setting_of_two_names_by_the_one_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "false")
    assert how_to_unset(PREFECT_SERVER_EPHEMERAL_ENABLED) == "unset PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"
