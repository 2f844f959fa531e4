"""Settings with which no request can be sent, or no temporary server started: they are named, and no secret in them."""

import os
from pathlib import Path

import certifi
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import (
    PREFECT_API_DATABASE_CONNECTION_URL,
    PREFECT_API_KEY,
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_TLS_INSECURE_SKIP_VERIFY,
    PREFECT_CLIENT_CUSTOM_HEADERS,
    PREFECT_HOME,
    PREFECT_SERVER_EPHEMERAL_ENABLED,
    Settings,
    temporary_settings,
)
from prefect.settings.legacy import Setting

from lib.errors import InTheWay, PermanentError
from tasks import server
from tasks.client_settings import check_client_settings
from tests.tasks.test_server import CLOSED, check, said_of

DATABASE = "PREFECT_API_DATABASE_CONNECTION_URL must be sqlite+aiosqlite:///PATH, or postgresql+asyncpg://"
CERTIFICATES = "PREFECT_API_SSL_CERT_FILE must name a file of CA certificates"
SETTINGS: dict[str, tuple[Setting, object, str]] = {
    "a header with a line end": (
        PREFECT_CLIENT_CUSTOM_HEADERS,
        {"Authorization": "Bearer secret\n"},
        "PREFECT_CLIENT_CUSTOM_HEADERS must be names and values that HTTP allows: …, or unset PREFECT_CLIENT_CUSTOM_H",
    ),
    "a header that is not ASCII": (
        PREFECT_CLIENT_CUSTOM_HEADERS,
        {"X-Token": "secret é"},
        "PREFECT_CLIENT_CUSTOM_HEADERS must be names and values that HTTP allows: printable ASCII",
    ),
    "a header's name with a space": (
        PREFECT_CLIENT_CUSTOM_HEADERS,
        {"X secret": "a"},
        "PREFECT_CLIENT_CUSTOM_HEADERS ",
    ),
    "a key that is not ASCII": (
        PREFECT_API_KEY,
        "secret é",
        "PREFECT_API_KEY must be printable ASCII; received another",
    ),
    "no time": (PREFECT_API_REQUEST_TIMEOUT, 0, "PREFECT_API_REQUEST_TIMEOUT must be seconds above 0, …; received 0: "),
    "less than no time": (PREFECT_API_REQUEST_TIMEOUT, -1, "PREFECT_API_REQUEST_TIMEOUT must be …; received -1: "),
    "time that is no number": (
        PREFECT_API_REQUEST_TIMEOUT,
        "nan",
        "PREFECT_API_REQUEST_TIMEOUT must be …; received nan",
    ),
    "certificates that are not there": (
        PREFECT_API_SSL_CERT_FILE,
        "/none.pem",
        f"{CERTIFICATES}; received /none.pem: No such file or directory: change it, or unset PREFECT_API_SSL_CERT_FILE",
    ),
    "a folder of certificates": (PREFECT_API_SSL_CERT_FILE, "/", f"{CERTIFICATES}; received /: "),
    "a text for certificates": (PREFECT_API_SSL_CERT_FILE, __file__, f"{CERTIFICATES}; received {__file__}: "),
    "a device for certificates": (PREFECT_API_SSL_CERT_FILE, "/dev/zero", f"{CERTIFICATES}; received /dev/zero: "),
    "a database of another kind": (PREFECT_API_DATABASE_CONNECTION_URL, "mysql://u:secret@h/x", DATABASE),
    "a driver that cannot wait": (PREFECT_API_DATABASE_CONNECTION_URL, "postgresql://u:secret@h/x", DATABASE),
    "no address of a database": (PREFECT_API_DATABASE_CONNECTION_URL, "u:secret@h/x", DATABASE),
    "a port that is no number": (PREFECT_API_DATABASE_CONNECTION_URL, "sqlite+aiosqlite://h:secret/x", DATABASE),
}


@pytest.mark.parametrize(("place", "skips"), [("", False), (certifi.where(), False), ("/none.pem", True)])
def test_certificates_that_can_be_used_or_that_nobody_checks_are_no_fault(place: str, skips: bool) -> None:
    with temporary_settings({PREFECT_API_SSL_CERT_FILE: place, PREFECT_API_TLS_INSECURE_SKIP_VERIFY: skips}):
        check_client_settings()
        with get_client(sync_client=True):
            pass


def test_a_home_that_no_databases_address_can_name_is_refused(tmp_path: Path) -> None:
    settings = {PREFECT_HOME: tmp_path / "a?b", PREFECT_SERVER_EPHEMERAL_ENABLED: True}
    with temporary_settings(settings, restore_defaults=[PREFECT_API_DATABASE_CONNECTION_URL]):
        check(said_of(None, PermanentError), "PREFECT_HOME must be a path without ?, …; received one with it: change")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_with_which_nothing_can_be_asked_is_named_and_no_secret_of_it(name: str) -> None:
    setting, value, expected = SETTINGS[name]
    urls = [None] if setting is PREFECT_API_DATABASE_CONNECTION_URL else [None, f"http://{CLOSED}/api"]
    with temporary_settings({setting: value, PREFECT_SERVER_EPHEMERAL_ENABLED: True}):
        for url in urls:
            check(said_of(url, PermanentError), expected)


def test_a_database_that_is_no_regular_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "prefect.db")
    url = f"sqlite+aiosqlite:///{tmp_path}/prefect.db"
    with temporary_settings({PREFECT_API_DATABASE_CONNECTION_URL: url, PREFECT_SERVER_EPHEMERAL_ENABLED: True}):
        check(
            said_of(None, InTheWay), f"{tmp_path}/prefect.db must be a regular file; received another kind (Is a FIFO)"
        )


@pytest.mark.parametrize(
    ("profile", "may"),
    [
        ("", True),
        ('PREFECT_SERVER_EPHEMERAL_ENABLED = "true"', True),
        ("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE = 0", False),
    ],
)
def test_a_temporary_server_is_forbidden_by_who_says_so_alone(
    profile: str, may: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_SERVER_EPHEMERAL_ENABLED", "")  # so that it is unset again afterwards
    monkeypatch.delenv("PREFECT_SERVER_EPHEMERAL_ENABLED")
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "profiles.toml"))
    monkeypatch.setattr(server, "refresh_global_settings_context", lambda: None)
    (tmp_path / "profiles.toml").write_text(f'active = "mine"\n[profiles.mine]\nPREFECT_HOME = "/x"\n{profile}\n')
    monkeypatch.setattr(server, "get_current_settings", Settings)
    assert server._may_be_temporary() is may
    assert Settings().server.ephemeral.enabled is may, "Prefect's client must find it so too"
