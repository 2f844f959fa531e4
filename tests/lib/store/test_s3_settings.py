"""Settings of the AWS SDK that are broken, and keys that cannot be had: one line, without a traceback."""

from pathlib import Path

import pytest

from lib.errors import PermanentError, TransientError
from lib.store import open_store

from .made import message

SHARED = "[default]\naws_access_key_id = a\naws_secret_access_key = b\n"
WITHOUT_KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
LOGIN = """
[profile one]
sso_session = us
sso_account_id = 1
sso_role_name = x
[sso-session us]
sso_region = us-east-1
sso_start_url = https://x.awsapps.example/start
"""
BROKEN: dict[str, tuple[dict[str, str], str, str]] = {
    # Variables, what ~/.aws/config says, and what the error names.
    "attempts of 0": (
        {"AWS_MAX_ATTEMPTS": "0"},
        "",
        "AWS_MAX_ATTEMPTS must be a whole number from 1 to 100; received '0'",
    ),
    "no number of attempts": ({"AWS_MAX_ATTEMPTS": "many"}, "", "AWS_MAX_ATTEMPTS must be a whole number"),
    "half a config": ({}, "[default\nregion", "Unable to parse config file: "),
    "a config in Latin-1": ({}, "[default]\nregion = \udce4", "Unable to parse config file: "),
    "a flat config": ({}, "[default]\ns3 = flat", "S3 cannot be set up: "),
    "an unknown profile": ({"AWS_PROFILE": "none"}, SHARED, "The config profile (none) could not be found"),
    "a region with spaces": ({"AWS_REGION": "us east"}, "", "us east"),
    "an endpoint of no host": ({"AWS_ENDPOINT_URL_S3": "http://"}, "", "AWS_ENDPOINT_URL_S3"),
    "an endpoint of IPv6": ({"AWS_ENDPOINT_URL_S3": "http://[::1"}, "", "AWS_ENDPOINT_URL_S3"),
    "a port that is none": ({"AWS_ENDPOINT_URL_S3": "http://host:port"}, "", "AWS_ENDPOINT_URL_S3"),
    "a bucket in the endpoint": (
        {"AWS_ENDPOINT_URL_S3": "{0.endpoint}/{0.bucket}"},
        "",
        "without a bucket in its path; received {0.endpoint}/{0.bucket}; mend AWS_ENDPOINT_URL_S3",
    ),
    "certificates that are not there": ({"AWS_CA_BUNDLE": "/none.pem"}, "", "AWS_CA_BUNDLE must name a file of CA"),
    "certificates that are none": ({"AWS_CA_BUNDLE": __file__}, "", "AWS_CA_BUNDLE must name a file of CA"),
    "a role without its token": (
        {**WITHOUT_KEYS, "AWS_ROLE_ARN": "arn:aws:iam::1:role/x", "AWS_WEB_IDENTITY_TOKEN_FILE": "/none/token"},
        "",
        "No such file or directory: '/none/token'; check AWS_ENDPOINT_URL_S3, the other AWS_… variables",
    ),
    "no login": ({"AWS_PROFILE": "one"}, LOGIN, "Token for us does not exist; run: aws sso login"),
    "a mode that is none": ({}, "[default]\ndefaults_mode = odd", "S3 cannot be set up: "),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_setting_that_is_broken_is_named_for_good(
    name: str,
    s3_environment,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    variables, config, named = BROKEN[name]
    (tmp_path / "config").write_bytes(config.encode(errors="surrogateescape"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value.format(s3_environment))
    with pytest.raises(PermanentError) as error:
        open_store(f"s3://{s3_environment.bucket}/p", tmp_path).list("x")
    assert named.format(s3_environment) in message(error)
    assert not any(record.exc_info for record in caplog.records)


def test_keys_that_do_not_come_are_not_waited_for_without_end(
    s3_environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[default]\ncredential_process = sleep 3\n")
    for variable, value in {**WITHOUT_KEYS, "AWS_CONFIG_FILE": str(tmp_path / "config")}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("lib.store.s3_client.KEYS_WITHIN_S", 0.3)
    with pytest.raises(TransientError, match=r"did not answer within 0.3 s; check credential_process in ~/.aws/config"):
        open_store(f"s3://{s3_environment.bucket}/p", tmp_path)
