"""A temporary server is as Prefect makes one, whatever is set for another: only its database is as it is set."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, Settings, temporary_settings
from prefect.settings import PREFECT_API_DATABASE_MIGRATE_ON_START as MIGRATES

from lib.settings import REPOSITORY
from tasks import temporary_settings as ours
from tasks.temporary_settings import environment_of_server

SHOW = "from tasks.temporary_settings import environment_of_server as of; [print(*each) for each in of().items()]"
SET_ASIDE = {
    "PREFECT_API_DATABASE_MIGRATE_ON_START": ("false", "PREFECT_SERVER_DATABASE_MIGRATE_ON_START", "True"),
    "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": ("0", "PREFECT_SERVER_DATABASE_MIGRATE_ON_START", "True"),
    "PREFECT_SERVER_API_MAX_PARAMETER_SIZE": ("5", "PREFECT_SERVER_API_MAX_PARAMETER_SIZE", "524288"),
    "PREFECT_SERVER_API_BASE_PATH": ("/elsewhere", "PREFECT_SERVER_API_BASE_PATH", "/api"),
    "PREFECT_UI_ENABLED": ("1", "PREFECT_SERVER_UI_ENABLED", "0"),
    "PREFECT_MESSAGING_BROKER": (
        "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_MESSAGING_BROKER",
        "prefect.server.utilities.messaging.memory",
    ),
    "PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_QUEUE_STORAGE": (
        "prefect_redis.none",
        "PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_QUEUE_STORAGE",
        "prefect.server.worker_communication.cleanup_queue.memory",
    ),
}
KEPT = {
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60.0",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_BATCH_SIZE": "7",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "False",
    "PREFECT_LOGGING_LEVEL": "DEBUG",
}


@pytest.fixture
def set_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect's settings are read from the environment that the test has set."""
    monkeypatch.setattr(ours, "get_current_settings", Settings)


@pytest.mark.parametrize("name", SET_ASIDE)
@pytest.mark.usefixtures("set_anew")
def test_what_is_set_for_another_server_is_set_aside(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value, variable, expected = SET_ASIDE[name]
    monkeypatch.setenv(name, value)
    assert environment_of_server()[variable] == expected


@pytest.mark.usefixtures("set_anew")
def test_prefect_reads_the_variables_of_a_temporary_server_as_they_are_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (value, _, _) in SET_ASIDE.items():
        monkeypatch.setenv(name, value)
    for name, value in environment_of_server().items():
        monkeypatch.setenv(name, value)
    told, plain = Settings().server, type(Settings().server).model_fields
    assert told.database.migrate_on_start
    assert told.api.max_parameter_size == 524288
    assert told.services.late_runs == type(told.services.late_runs)()
    assert told.logging_level == plain["logging_level"].default


def test_a_database_of_several_servers_is_migrated_by_who_may() -> None:
    shared = "postgresql+asyncpg://user:password@host/prefect"
    with temporary_settings({PREFECT_API_DATABASE_CONNECTION_URL: shared, MIGRATES: False}):
        assert environment_of_server()["PREFECT_SERVER_DATABASE_MIGRATE_ON_START"] == "False"
    with temporary_settings({MIGRATES: False}):
        assert environment_of_server()["PREFECT_SERVER_DATABASE_MIGRATE_ON_START"] == "True"


@pytest.mark.usefixtures("set_anew")
def test_what_is_set_for_its_database_and_for_all_of_prefect_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEPT.items():
        monkeypatch.setenv(name, value)
    assert environment_of_server().items() >= KEPT.items()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("prefect.toml", "[server.database]\nmigrate_on_start = false\n[server.api]\nmax_parameter_size = 5\n"),
        (
            "profiles.toml",
            'active = "mine"\n[profiles.mine]\nPREFECT_API_DATABASE_MIGRATE_ON_START = "false"\n'
            'PREFECT_SERVER_API_MAX_PARAMETER_SIZE = "5"\n',
        ),
    ],
)
def test_what_a_file_sets_is_set_aside_too(file: str, content: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(content)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        cwd=tmp_path,
        env={**kept, "PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert "PREFECT_SERVER_DATABASE_MIGRATE_ON_START True" in lines
    assert "PREFECT_SERVER_API_MAX_PARAMETER_SIZE 524288" in lines
