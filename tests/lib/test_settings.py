"""The environment, read in one place."""

from pathlib import Path

import pytest

from lib.errors import PermanentError
from lib.settings import REPOSITORY, read_settings


def test_without_variables_the_store_is_a_folder_of_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETRY_DELAYS_S")
    monkeypatch.delenv("CACHE_DIR")
    settings = read_settings()
    assert (REPOSITORY / "lib" / "settings.py").is_file()
    assert settings.store_uri == str(REPOSITORY / ".store")
    assert settings.mirror_url is None
    assert settings.cache_dir == Path.home() / ".cache/image-training-flows"
    assert settings.retry_delays_s == (5.0, 20.0, 60.0)
    assert settings.checkpoint_interval_s == 300.0
    assert settings.lease_s == 60.0


def test_variables_are_read_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_URI", "s3://bucket/prefix")
    monkeypatch.setenv("MIRROR_URL", "file:///mirror")
    monkeypatch.setenv("CACHE_DIR", "/cache")
    monkeypatch.setenv("RETRY_DELAYS_S", "[1, 2.5]")
    monkeypatch.setenv("CHECKPOINT_INTERVAL_S", "0")
    monkeypatch.setenv("LEASE_S", "0.5")
    settings = read_settings()
    assert settings.store_uri == "s3://bucket/prefix"
    assert settings.mirror_url == "file:///mirror"
    assert settings.cache_dir == Path("/cache")
    assert settings.retry_delays_s == (1.0, 2.5)
    assert settings.checkpoint_interval_s == 0.0
    assert settings.lease_s == 0.5
    monkeypatch.setenv("RETRY_DELAYS_S", "[]")
    assert read_settings().retry_delays_s == ()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LEASE_S", "0", "lease_s: Input should be greater than 0; received '0'"),
        ("LEASE_S", "soon", "lease_s: Input should be a valid number, unable to parse string as a number; "),
        ("CHECKPOINT_INTERVAL_S", "-1", "checkpoint_interval_s: Input should be greater than or equal to 0; "),
        ("RETRY_DELAYS_S", '["x"]', "retry_delays_s.0: Input should be a valid number, unable to parse string as"),
    ],
)
def test_a_value_that_does_not_parse_is_said_on_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(PermanentError, match=r"^environment is not valid: ") as error:
        read_settings()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_delays_that_are_no_json_are_said_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRY_DELAYS_S", "5,20")
    with pytest.raises(PermanentError, match=r"(?i)retry_delays_s") as error:
        read_settings()
    assert "\n" not in str(error.value)
