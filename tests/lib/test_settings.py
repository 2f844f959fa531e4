"""The environment, read in one place."""

import os
import re
from pathlib import Path

import httpx
import pytest

from lib.errors import PermanentError
from lib.settings import REPOSITORY, Settings, check_proxies, check_tls, read_settings


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


@pytest.mark.parametrize("store", ["results", "~/results", "file:///results", "s3://bucket/results"])
def test_a_process_with_another_current_folder_sees_the_same_places(
    store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(store_uri=store, cache_dir=Path("cache")).seen_from_anywhere()
    assert settings.cache_dir == tmp_path / "cache"
    assert settings.store_uri == {
        "results": f"{tmp_path}/results",
        "~/results": f"{Path.home()}/results",
        "file:///results": "/results",
    }.get(store, store)


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


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name.upper() for name in Settings.model_fields]
    for name in names:
        monkeypatch.delenv(name, raising=False)
    unset = read_settings()
    for name in names:
        monkeypatch.setenv(name, "")
    assert read_settings() == unset


@pytest.mark.parametrize(
    "name",
    [
        "STORE_URI",
        "CACHE_DIR",
        "LEASE_S",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ENDPOINT_URL_S3",
        "PREFECT_API_KEY",
        "https_proxy",
    ],
)
@pytest.mark.parametrize("ends", ["\r", "\n", "\x00", "\u200b", "\udcff"])
def test_a_variable_with_control_characters_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, ends: str
) -> None:
    monkeypatch.setattr("lib.settings.os.environ", {**os.environ, name: f"secret{ends}"})
    with pytest.raises(PermanentError, match=f"{name} has others; .*CRLF") as error:
        read_settings()
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CACHE_DIR", "s3://bucket/x", "CACHE_DIR must be a folder; received 's3://bucket/x'"),
        ("CACHE_DIR", "$HOME/x", "CACHE_DIR must be a folder; variables are not replaced in it; received '$HOME/x'"),
        (
            "CACHE_DIR",
            "~no-such-user/x",
            "CACHE_DIR must be a folder; received '~no-such-user/x', and there is no such",
        ),
        ("MIRROR_URL", "some/folder", "MIRROR_URL must begin with file://, https:// or s3://; received 'some/folder'"),
        ("NOTIFY_WEBHOOK_URL", "hooks.example/T/secret", "NOTIFY_WEBHOOK_URL must be https://host/…; received what is"),
        ("NOTIFY_WEBHOOK_URL", "https://[hooks/secret", "NOTIFY_WEBHOOK_URL must be https://host/…; received what is"),
    ],
)
def test_an_address_that_is_none_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(PermanentError) as error:
        read_settings()
    assert str(error.value).startswith(said)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("name", ["ALL_PROXY", "https_proxy", "HTTP_PROXY"])
@pytest.mark.parametrize(
    "proxy",
    ["socks5h://127.0.0.1:1080", "socks4://u:secret@h:1", "localhost:3128x/", "http://h:99999", "//h", "http://"],
)
def test_a_proxy_that_not_all_libraries_can_use_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, proxy: str
) -> None:
    monkeypatch.setenv(name, proxy)
    with pytest.raises(PermanentError, match=f"^{name} must name an HTTP proxy, such as http://host:3128 ") as error:
        check_proxies()
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("proxy", ["", "localhost:3128", "http://u:p@host:1/", "https://[::1]:3128", "HTTP://host"])
def test_an_http_proxy_is_taken(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    check_proxies()


@pytest.mark.parametrize("entry", ["fd00::/8", "h:x", "[::1", "https://h:x"])
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_an_exception_from_proxies_that_httpx_cannot_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, entry: str
) -> None:
    monkeypatch.setenv(name, f"localhost, {entry}")
    with pytest.raises(Exception, match="Invalid"):
        httpx.Client()
    with pytest.raises(PermanentError, match=f"^{name} must list hosts, .*; received {re.escape(repr(entry))}: Inval"):
        check_proxies()


@pytest.mark.parametrize("value", ["localhost,127.0.0.1,::1,.x.example,10.0.0.0/8,h:1,https://h,,", "fd00::/8,*"])
def test_exceptions_from_proxies_are_taken_as_httpx_takes_them(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("NO_PROXY", value)
    httpx.Client().close()
    check_proxies()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SSLKEYLOGFILE", "/none/x", "a file that can be written; received /none/x: No such file or directory; "),
        ("SSLKEYLOGFILE", "/", "a file that can be written; received /: Is a directory; else unset SSLKEYLOGFILE"),
        ("SSL_CERT_FILE", "/none.pem", "a file of CA certificates; received /none.pem: No such file or directory"),
        ("SSL_CERT_FILE", "/", "a file of CA certificates; received /: "),
        ("SSL_CERT_FILE", __file__, "a file of CA certificates; received "),
    ],
)
def test_a_file_that_no_tls_connection_can_use_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(PermanentError) as error:
        check_tls()
    assert str(error.value).startswith(f"{name} must name {said}")


def test_keys_of_tls_may_be_logged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    check_tls()
    monkeypatch.setenv("SSLKEYLOGFILE", os.devnull)
    check_tls()


def test_passwords_of_settings_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRROR_URL", "https://user:secret@host/x")
    monkeypatch.setenv("NOTIFY_WEBHOOK_URL", "https://hooks.example/secret")
    assert "secret" not in repr(read_settings())
    assert read_settings().mirror_url == "https://user:secret@host/x"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CACHE_MAX_GB", "0", "cache_max_gb: Input should be greater than 0; received '0'"),
        ("CACHE_MAX_GB", "inf", "cache_max_gb: Input should be a finite number; received 'inf'"),
        ("CACHE_MAX_GB", "1e308", "cache_max_gb: Input should be less than or equal to 1000000000; received '1e308'"),
        ("CHECKPOINT_INTERVAL_S", "inf", "checkpoint_interval_s: Input should be a finite number; received 'inf'"),
        ("LEASE_S", "0", "lease_s: Input should be greater than 0; received '0'"),
        ("LEASE_S", "inf", "lease_s: Input should be less than or equal to 86400; received 'inf'"),
        ("LEASE_S", "nan", "lease_s: Input should be"),
        ("LEASE_S", "soon", "lease_s: Input should be a valid number, unable to parse string as a number; "),
        ("CHECKPOINT_INTERVAL_S", "-1", "checkpoint_interval_s: Input should be greater than or equal to 0; "),
        ("RETRY_DELAYS_S", "[" * 100_000, "maximum recursion depth exceeded"),
        ("RETRY_DELAYS_S", '{"a":' * 100_000, "maximum recursion depth exceeded"),
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
