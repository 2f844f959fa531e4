"""boto3's client, found by its own environment (AWS_ENDPOINT_URL_S3, keys, profiles, roles), and its errors as ours."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
import botocore.handlers
from botocore.config import Config

from lib.errors import NO_TLS, NotFound, PermanentError, PipelineError, TransientError, one_line
from lib.settings import check_certificates
from lib.time_limits import TooSlow, watch_answers, within

ATTEMPTS = 11
"""Of each call, with growing, jittered waits: about half a minute in all. AWS_MAX_ATTEMPTS sets another number."""
KEYS_WITHIN_S = 30.0
"""From wherever they come: a file, a program (`credential_process`), a server."""
CODE_ATTEMPTS, CODE_AGAIN_S = 4, 0.2
READ_TIMEOUT_S = 20
"""Without a single byte."""
CONNECTIONS = 32
"""At once: one client serves all threads of a process."""
OTHERS = {"http_proxy", "https_proxy", "no_proxy", "all_proxy", "requests_ca_bundle"}
FULL = {"InsufficientStorage", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull"}
OF_REGIONS = {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
OF_KEYS = re.compile("Access|Auth|Credential|Forbidden|Key|Security|Sign|Token")
"""Codes of S3's errors, by what they are about."""
BUSY, REFUSALS = {408, 425, 429}, {401, 403}
"""HTTP statuses: what they mean does not depend on who says it."""
CREDENTIAL_ERRORS = (
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.ProfileNotFound,
)
NETWORK_ERRORS = (
    botocore.exceptions.ConnectionError,
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.IncompleteReadError,
    botocore.exceptions.ChecksumError,
    botocore.exceptions.FlexibleChecksumError,
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.MetadataRetrievalError,
)
"""boto3's errors that may pass; all others are of settings."""
LOGIN_ERRORS = (
    botocore.exceptions.SSOError,
    botocore.exceptions.TokenRetrievalError,
    botocore.exceptions.LoginError,
)
LOG_IN = "run: aws sso login (or aws login), with the same AWS_PROFILE"
CHECK = "check AWS_ENDPOINT_URL_S3, the other AWS_… variables and ~/.aws/config"


def s3_client(most_attempts: int = 100) -> Any:
    """One client for all that would make the same: it costs half a second. It may be used by several threads.

    Each call is tried `ATTEMPTS` times, or `most_attempts`.
    """
    return _client(_what_decides_it(), min(_attempts(), most_attempts))


def _what_decides_it() -> tuple[object, ...]:
    """All that boto3 makes a client from. A forked process needs another: connections are not shared."""
    chosen = {name: value for name, value in os.environ.items() if name.startswith("AWS_") or name.lower() in OTHERS}
    home = Path(os.environ.get("HOME") or "/")
    files = (
        Path(chosen.get("AWS_CONFIG_FILE") or home / ".aws/config"),
        Path(chosen.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws/credentials"),
    )
    return os.getpid(), tuple(sorted(chosen.items())), *((str(file), _changed_at(file)) for file in files)


def _changed_at(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=8)
def _client(_what_decides_it: tuple[object, ...], attempts: int) -> Any:
    for name in [name for name, value in os.environ.items() if name.startswith("AWS_") and not value]:
        del os.environ[name]  # boto3 would look for a profile without a name
    watch_answers()
    for name in ("botocore.credentials", "botocore.tokens"):
        logging.getLogger(name).addFilter(_without_traceback)
    check_certificates("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
    try:
        return within(KEYS_WITHIN_S, lambda: _make_client(attempts))
    except TooSlow as error:
        raise TransientError(
            f"the keys for S3 cannot be had: what gives them {error}; check credential_process in ~/.aws/config "
            "(AWS_CONFIG_FILE), and the AWS_… variables"
        ) from None
    except botocore.exceptions.ClientError as error:  # of the service that gives keys
        raise _explain("the keys for S3", error) from None
    except NETWORK_ERRORS as error:
        raise TransientError(f"the keys for S3 cannot be had: {' '.join(str(error).split())}; {CHECK}") from None
    except Exception as error:  # whatever boto3 stumbles over in its files and variables: nothing else happens here
        said = one_line(error) or type(error).__name__
        if isinstance(error, EOFError):
            said = "a code of a second factor is asked for, and nobody is there to type it"
        raise PermanentError(f"S3 cannot be set up: {said}; {_advice(error)}") from None


def _make_client(attempts: int) -> Any:
    """With its keys: boto3 would look for some of them in the middle of the first request."""
    # A session of its own: boto3's common one is not for threads, and keeps the first credentials it sees.
    session = boto3.Session(profile_name=os.environ.get("AWS_PROFILE") or None)
    # boto3 would wait without end for the end of a server's leave to go on ("100 Continue").
    session.events.unregister("before-call.s3", botocore.handlers.add_expect_header)
    session.events.register_last("before-parameter-build.s3", _ask_no_further)
    session.events.register_first("needs-retry.s3", _ask_again_for_a_code)
    if keys := session.get_credentials():
        keys.get_frozen_credentials()
    # A region is asked for even where an endpoint is named; any will do there.
    region = session.region_name or os.environ.get("AWS_REGION") or "us-east-1"
    # AWS's standard mode tries again on connection errors, timeouts, throttling and 5xx.
    # Links are signed by version 4 too: boto3's default for them, version 2, is refused by newer servers.
    config = Config(
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=5,
        read_timeout=READ_TIMEOUT_S,
        max_pool_connections=CONNECTIONS,
        signature_version="s3v4",
    )
    client = session.client("s3", config=config, region_name=region)
    endpoint = urlsplit(client.meta.endpoint_url)
    plain = endpoint._replace(netloc=endpoint.netloc.rpartition("@")[2], query="", fragment="").geturl()
    if plain == client.meta.endpoint_url:
        return client
    # S3 takes keys and no password in its address, which would stand in every link.
    return session.client("s3", config=config, region_name=region, endpoint_url=plain)


def _without_traceback(record: logging.LogRecord) -> bool:
    """The error that follows such a warning of botocore says the same."""
    record.exc_info = None
    return True


def _advice(error: Exception) -> str:
    return LOG_IN if isinstance(error, LOGIN_ERRORS) else CHECK


def _ask_no_further(model: Any, context: dict[str, Any], **_: object) -> None:
    """Redirected, boto3 asks for the bucket's region; redirected there too, it would ask again, without end."""
    if model.name == "HeadBucket":
        context["s3_redirect"]["redirected"] = True


def _ask_again_for_a_code(response: Any, attempts: int, operation: Any, **_: object) -> float | None:
    """Seconds until the next try where a 404 has no code, as one of S3 always has: its answer may have been cut."""
    if response is None or operation.name == "HeadObject":
        return None
    http, said = response
    cut = http.status_code == 404 and str(said.get("Error", {}).get("Code", "")).isdecimal()
    return CODE_AGAIN_S * attempts if cut and attempts < CODE_ATTEMPTS else None


def _attempts() -> int:
    said = os.environ.get("AWS_MAX_ATTEMPTS") or str(ATTEMPTS)
    if not (said.isascii() and said.isdigit() and 1 <= int(said) <= 100):
        raise PermanentError(f"AWS_MAX_ATTEMPTS must be a whole number from 1 to 100; received {said!r}")
    return int(said)


def code(error: botocore.exceptions.ClientError) -> str:
    """What S3 calls it, such as `NoSuchKey`."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status(error: botocore.exceptions.ClientError) -> int:
    """Its HTTP status; 0 where there was none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def s3_errors(address: str, set_by: str = "STORE_URI or --store") -> Iterator[None]:
    """Turn boto3's errors into ours, naming `address` and what a person sets it by."""
    try:
        yield
    except PipelineError:
        raise
    except TooSlow as error:
        raise TransientError(f"{address} {error}; check AWS_ENDPOINT_URL_S3 and the network") from None
    except botocore.exceptions.ClientError as error:
        raise _explain(address, error, set_by) from error
    except botocore.exceptions.BotoCoreError as error:
        raise _explain_ours(address, error, set_by) from None  # its own text may hold a proxy's password
    except boto3.exceptions.Boto3Error as error:
        cause = error.__cause__ or error.__context__
        if isinstance(cause, botocore.exceptions.ClientError):
            raise _explain(address, cause, set_by) from error
        raise TransientError(f"{address}: the transfer was cut: {error}") from error
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise PermanentError(
            f"{address}: the server's answer is not as S3 says it: {type(error).__name__}: {error}; "
            "check AWS_ENDPOINT_URL_S3"
        ) from error


def _explain_ours(address: str, error: botocore.exceptions.BotoCoreError, set_by: str) -> PipelineError:
    """What went wrong on this side of the wire."""
    said = one_line(error)
    if isinstance(error, botocore.exceptions.ParamValidationError):
        return PermanentError(f"{address} is not an address in S3: {said}; set {set_by}")
    if isinstance(error, CREDENTIAL_ERRORS):
        return PermanentError(
            f"{address} needs S3 credentials: {said}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if isinstance(error, botocore.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in said:
        return PermanentError(f"{address} must have a certificate that is trusted here: {said}; set AWS_CA_BUNDLE")
    if NO_TLS.search(said):
        return PermanentError(f"{address}: its server does not speak TLS; AWS_ENDPOINT_URL_S3 must begin with http://")
    if isinstance(error, NETWORK_ERRORS):
        return TransientError(f"{address} cannot be reached: {said}; check AWS_ENDPOINT_URL_S3 and the network")
    return PermanentError(f"{address} cannot be asked for: {said}; {_advice(error)}")


def _explain(
    address: str, error: botocore.exceptions.ClientError, set_by: str = "STORE_URI or --store"
) -> PipelineError:
    name, http = code(error), status(error)
    # A HEAD's answer names nothing. We ask by HEAD only for what a listing of S3 has just named.
    if name == "NoSuchKey" or (http == 404 and error.operation_name == "HeadObject"):
        return _not_found(address, error)
    if said := _of_its_code(error, set_by):
        return PermanentError(f"{address}: {said}")
    if http >= 500 or http in BUSY or name in {"SlowDown", "Throttling", "RequestTimeout", "TooManyRequests"}:
        return TransientError(f"{address} is not answering now: {name} ({http})")
    # What has no code is a page of a web server or a proxy: taken for S3's, its 404 would read as an empty store.
    if not _has_code(name) and http not in REFUSALS:
        return PermanentError(
            f"{address}: the server's answer is not as S3 says it: HTTP {http} without a code such as NoSuchKey; "
            "check AWS_ENDPOINT_URL_S3"
        )
    keys = "check the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what they may do"
    of_keys = OF_KEYS.search(name) or not _has_code(name)
    return PermanentError(
        f"S3 refused {address}: {name} ({http}); {keys if of_keys else 'look up what its server means by that'}"
    )


def _of_its_code(error: botocore.exceptions.ClientError, set_by: str) -> str:
    """What is wrong, and what to do, where the error has a name for it; empty for others."""
    name, http, region = code(error), status(error), error.response.get("Error", {}).get("Region")
    if name == "NoSuchBucket":
        return f"the bucket does not exist; make it, or set {set_by}"
    if name == "RequestTimeTooSkewed":
        return "S3 refused it: its clock and this machine's are too far apart; set this one's"
    if name in FULL or http == HTTPStatus.INSUFFICIENT_STORAGE:
        return f"S3 is full ({name}); free space there, or raise its quota"
    if name in OF_REGIONS or (region and 300 <= http < 400):  # some servers name theirs in every error
        return f"AWS_REGION must name the region of its bucket{f', {region}' if region else ''} ({name})"
    if 300 <= http < 400:
        return f"the endpoint redirects (HTTP {http}); check AWS_ENDPOINT_URL_S3"
    return f"this S3 server cannot do what was asked: {name} (501); use another" if http == 501 else ""


def _has_code(name: str) -> bool:
    """botocore gives the status for a name where the answer names no error."""
    return bool(name) and not name.isdecimal()


def _not_found(address: str, error: botocore.exceptions.ClientError) -> PermanentError:
    """A listing has no key that could be missing, unless the server takes a part of the endpoint for the bucket."""
    if not error.operation_name.startswith("List"):
        return NotFound(f"nothing is stored at {address}")
    return PermanentError(
        f"{address} cannot be listed: the endpoint must be a server's address without a bucket in its path; "
        f"received {s3_client().meta.endpoint_url}; mend AWS_ENDPOINT_URL_S3"
    )
