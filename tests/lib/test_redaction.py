"""What libraries log of their talk with servers holds no secret, whatever levels are set."""

import io
import logging
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
import requests

from lib.data.http import download
from lib.errors import PipelineError
from lib.redaction import NOT_SHOWN, TALKERS, keep_out_of_logs
from lib.store import open_store
from tests.s3_server import S3Server
from tests.web_server import web_server

MARKER = f"planted{uuid.uuid4().hex}"


@pytest.fixture(params=["of all", "of each library"])
def logged(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """All that is logged while the level `of all` or `of each library` is DEBUG."""
    keep_out_of_logs()
    stream, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
    loggers = [root, *map(logging.getLogger, TALKERS if request.param == "of each library" else ())]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    root.addHandler(handler)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def test_what_is_fetched_is_logged_without_its_token(logged: io.StringIO) -> None:
    with web_server() as at:
        address = f"{at.replace('//', f'//user:{MARKER}@')}/file?token={MARKER}"
        assert b"".join(download(address, lambda length: None)) == b"<html>"
        httpx.get(address)
        requests.get(address, timeout=5)
    logging.getLogger("tests").debug("others say what they say: %s", "http://host/?a=b")
    assert MARKER not in logged.getvalue()
    assert "tests DEBUG others say what they say: http://host/?a=b" in logged.getvalue()


def test_what_is_stored_at_s3_is_logged_without_keys_and_signatures(
    logged: io.StringIO, s3_environment: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}", tmp_path)
    store.write("raw/x", b"content")
    assert store.read("raw/x") == b"content"
    monkeypatch.setenv("AWS_SESSION_TOKEN", MARKER)
    with pytest.raises(PipelineError):
        open_store(store.uri, tmp_path).read("raw/x")
    said = logged.getvalue()
    assert not any(secret in said for secret in (MARKER, s3_environment.secret_key, "Signature", "AWS4", "Credential="))


def test_a_warning_of_a_library_shows_no_query(logged: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer_badly(self: BaseHTTPRequestHandler) -> None:
        self.flush_headers()
        self.wfile.write(b"no header\r\n\r\n")

    monkeypatch.setattr(BaseHTTPRequestHandler, "end_headers", answer_badly)
    with web_server() as at:
        requests.get(f"{at}/file?token={MARKER}", timeout=5)
    assert f"urllib3.connection WARNING Failed to parse headers (url={at}/file" in logged.getvalue()
    assert MARKER not in logged.getvalue()


def test_what_a_library_says_below_a_warning_is_not_shown_where_its_level_asks_for_it() -> None:
    keep_out_of_logs()
    made = logging.getLogger("botocore.auth").makeRecord("botocore.auth", logging.DEBUG, "", 0, "%s", (MARKER,), None)
    assert (made.getMessage(), made.args) == (NOT_SHOWN, ())
