"""The store contract on S3, through boto3 and its own environment (AWS_ENDPOINT_URL_S3, keys, profiles, roles)."""

import mimetypes
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import boto3
import botocore.exceptions
import tenacity
from botocore.config import Config

from lib.errors import NotFound, PermanentError, PipelineError, TransientError
from lib.store.contract import check_digest, check_path, check_source

ATTEMPTS = 8
"""Of each call, with growing, jittered waits: about half a minute in all. AWS_MAX_ATTEMPTS sets another number."""
READ_TIMEOUT_S = 20
"""Without a single byte."""
CUT_ANSWERS = (
    botocore.exceptions.IncompleteReadError,
    botocore.exceptions.ReadTimeoutError,
    botocore.exceptions.ResponseStreamingError,
)
CREDENTIAL_ERRORS = (
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.ProfileNotFound,
)
URL_LIFETIME_S = 7 * 24 * 3600
UPLOAD = "?uploadId="
"""Between key and upload, as in S3's own address of an upload in parts."""


class S3Store:
    """Objects under one prefix of one bucket."""

    def __init__(self, uri: str, cache_dir: Path) -> None:
        address = urlparse(uri)
        if not address.netloc:
            raise PermanentError(f"an S3 store is s3://bucket/prefix; received {uri!r}")
        self.uri = uri.rstrip("/")
        self.bucket, self.prefix = address.netloc, address.path.strip("/")
        self.cache_dir = cache_dir
        self._s3 = s3_client()

    def _at(self, path: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": f"{self.prefix}/{check_path(path)}".lstrip("/")}

    def read(self, path: str) -> bytes:
        return self.read_version(path)[0]

    def read_version(self, path: str) -> tuple[bytes, str]:
        with s3_errors(f"{self.uri}/{path}"):
            return _get(self._s3, self._at(path))

    def write(self, path: str, data: bytes | Path) -> None:
        check_source(data)
        with s3_errors(f"{self.uri}/{path}"):
            if isinstance(data, bytes):
                self._s3.put_object(Body=data, **self._at(path))
            else:
                self._s3.upload_file(str(data), **self._at(path))

    def create(self, path: str, data: bytes) -> bool:
        return self._put_if(path, data, IfNoneMatch="*")

    def replace(self, path: str, data: bytes, version: str) -> bool:
        return self._put_if(path, data, IfMatch=version)

    def _put_if(self, path: str, data: bytes, **condition: str) -> bool:
        with s3_errors(f"{self.uri}/{path}"):
            try:
                self._s3.put_object(Body=data, **self._at(path), **condition)
            except botocore.exceptions.ClientError as error:
                if _code(error) in {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}:
                    # Of a try whose answer was lost, the next one meets what it wrote.
                    tried_again = error.response["ResponseMetadata"].get("RetryAttempts", 0) > 0
                    return tried_again and self.read(path) == data
                if "IfMatch" in condition and _code(error) in {"NoSuchKey", "404"}:
                    return False
                raise
            return True

    def delete(self, path: str) -> None:
        with s3_errors(f"{self.uri}/{path}"):
            self._s3.delete_object(**self._at(path))

    def exists(self, path: str) -> bool:
        # Listing, and not HEAD: a HEAD's 403 and 404 come without a body, so nothing could say why.
        key = self._at(path)["Key"]
        with s3_errors(f"{self.uri}/{path}"):
            answer = self._s3.list_objects_v2(Bucket=self.bucket, Prefix=key, MaxKeys=1)
        return any(entry["Key"] == key for entry in answer.get("Contents", []))

    def incomplete_uploads(self, older_than_s: float) -> list[str]:
        start = f"{self.prefix}/" if self.prefix else ""
        with s3_errors(self.uri):
            pages = self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=start)
            return sorted(
                f"{upload['Key'].removeprefix(start)}{UPLOAD}{upload['UploadId']}"
                for page in pages
                for upload in page.get("Uploads", [])
                if _age_s(page, upload["Initiated"]) >= older_than_s
            )

    def discard(self, incomplete_upload: str) -> None:
        path, _, upload = incomplete_upload.rpartition(UPLOAD)
        with s3_errors(f"{self.uri}/{path}"), suppress(self._s3.exceptions.NoSuchUpload):
            self._s3.abort_multipart_upload(**self._at(path), UploadId=upload)

    def list(self, prefix: str) -> list[str]:
        return sorted(self.ages(prefix))

    def ages(self, prefix: str) -> dict[str, float]:
        start = self._at(prefix)["Key"].rstrip("/") + "/"
        root = f"{self.prefix}/" if self.prefix else ""
        with s3_errors(f"{self.uri}/{prefix}"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=start)
            return {
                entry["Key"].removeprefix(root): _age_s(page, entry["LastModified"])
                for page in pages
                for entry in page.get("Contents", [])
            }

    def local_path(self, path: str, sha256: str) -> Path:
        # The name stays: keras goes by its suffix, and an error should say what it is about.
        cached = self.cache_dir / sha256[:2] / sha256 / PurePosixPath(check_path(path)).name
        try:
            if cached.is_file():
                with suppress(PermanentError):  # a damaged copy is fetched anew
                    return check_digest(cached, sha256, path)
            cached.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.cache_dir) as folder, s3_errors(f"{self.uri}/{path}"):
                download = Path(folder) / "download"
                self._s3.download_file(self.bucket, self._at(path)["Key"], str(download))
                return check_digest(download, sha256, path).replace(cached)
        except OSError as error:
            raise PermanentError(
                f"CACHE_DIR must be a folder that can be written; received {self.cache_dir}: {error.strerror}"
            ) from error

    def url(self, path: str) -> str:
        with s3_errors(f"{self.uri}/{path}"):
            kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
            shown = {**self._at(path), "ResponseContentType": kind}  # so that a browser shows a page, not a download
            return str(self._s3.generate_presigned_url("get_object", Params=shown, ExpiresIn=URL_LIFETIME_S))


def s3_client() -> Any:
    """boto3's client; it builds its types at run time."""
    with s3_errors("s3"):
        # A region is asked for even where an endpoint is named; any will do there.
        # A session of its own: boto3's common one is not for threads, and keeps the first credentials it sees.
        session = boto3.Session()
        region = session.region_name or os.environ.get("AWS_REGION") or "us-east-1"
        # AWS's standard mode tries again on connection errors, timeouts, throttling and 5xx.
        # Links are signed by version 4 too: boto3's default for them, version 2, is refused by newer servers.
        try:
            attempts = int(os.environ.get("AWS_MAX_ATTEMPTS", ATTEMPTS))
            config = Config(
                retries={"mode": "standard", "total_max_attempts": attempts},
                connect_timeout=5,
                read_timeout=READ_TIMEOUT_S,
                signature_version="s3v4",
            )
            return session.client("s3", config=config, region_name=region)
        except ValueError as error:
            raise PermanentError(
                f"S3 cannot be set up: {error}; check AWS_ENDPOINT_URL_S3 and AWS_MAX_ATTEMPTS"
            ) from error


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(TransientError),
    wait=tenacity.wait_random_exponential(multiplier=0.5, max=10),
    stop=tenacity.stop_after_attempt(ATTEMPTS),
    reraise=True,
)
def _get(s3: Any, at: dict[str, str]) -> tuple[bytes, str]:
    """Content and version. boto3 tries again what fails before the answer's body, not within it."""
    answer = s3.get_object(**at)
    try:
        return answer["Body"].read(), answer["ETag"]
    except CUT_ANSWERS as error:
        raise TransientError(f"s3://{at['Bucket']}/{at['Key']}: the answer was cut: {error}") from error


def _age_s(page: dict[str, Any], then: datetime) -> float:
    """Seconds since `then`, by the server's clock alone: it dated its answer too, though in whole seconds."""
    now = parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])
    return float(max(0.0, (now - then).total_seconds()))


def _code(error: botocore.exceptions.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def s3_errors(address: str) -> Iterator[None]:
    """Turn boto3's errors into ours, naming `address`."""
    try:
        yield
    except PipelineError:
        raise
    except botocore.exceptions.ClientError as error:
        raise _explain(address, error) from error
    except botocore.exceptions.ParamValidationError as error:
        reason = str(error).replace("\n", " ")
        raise PermanentError(f"{address} is not an address in S3: {reason}; set STORE_URI or --store") from error
    except CREDENTIAL_ERRORS as error:
        raise PermanentError(
            f"{address} needs S3 credentials: {error}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except botocore.exceptions.BotoCoreError as error:
        raise TransientError(
            f"{address} cannot be reached: {error}; check AWS_ENDPOINT_URL_S3 and the network"
        ) from error
    except boto3.exceptions.Boto3Error as error:
        cause = error.__cause__ or error.__context__
        if isinstance(cause, botocore.exceptions.ClientError):
            raise _explain(address, cause) from error
        raise TransientError(f"{address}: the transfer was cut: {error}") from error


def _explain(address: str, error: botocore.exceptions.ClientError) -> PipelineError:
    code = _code(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "NoSuchBucket":
        return PermanentError(f"the bucket of {address} does not exist; make it, or set STORE_URI or --store")
    if code in {"NoSuchKey", "404"}:
        return NotFound(f"nothing is stored at {address}")
    if code == "RequestTimeTooSkewed":
        return PermanentError(f"S3 refused {address}: its clock and this machine's are too far apart; set this one's")
    if status >= 500 or code in {"SlowDown", "Throttling", "RequestTimeout", "TooManyRequests"}:
        return TransientError(f"{address} is not answering now: {code} ({status})")
    return PermanentError(
        f"S3 refused {address}: {code} ({status}); check the keys in AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, and what they may do"
    )
