"""The store contract on S3, through boto3."""

import copy
import hashlib
import mimetypes
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO

import botocore.exceptions
import tenacity

from lib.addresses import bucket_and_key
from lib.errors import NotFound, PermanentError, TransientError, shortened
from lib.files import PART_BYTES, check_size
from lib.store.cache import Cache
from lib.store.contract import LARGEST_RECORD_BYTES, check_names, check_path, check_source, check_stored_size
from lib.store.s3_client import code, s3_client, s3_errors, status

__all__ = ["S3Store", "checked_listing", "listing_pages", "read_object", "s3_client", "s3_errors"]

CUT_ANSWERS = (
    botocore.exceptions.IncompleteReadError,
    botocore.exceptions.ReadTimeoutError,
    botocore.exceptions.ResponseStreamingError,
)
CONFLICTS = {"ConditionalRequestConflict", "OperationAborted", "409"}
"""Another write to this path is under way: S3 has not decided, and asks for the same request again."""
LONGEST_KEY_BYTES = 1024
TRIES = 8
"""Of what boto3 does not try again itself."""
URL_LIFETIME_S = 24 * 3600
UPLOAD = "?uploadId="
"""Between key and upload, as in S3's own address of an upload in parts."""


class S3Store:
    """Objects under one prefix of one bucket."""

    def __init__(self, uri: str, cache: Cache) -> None:
        self.bucket, self.prefix = bucket_and_key(uri, "a store in S3 must be s3://bucket/prefix")
        self.uri = uri.rstrip("/")
        self.cache = cache
        self._s3 = s3_client()

    def asking(self, most_attempts: int) -> "S3Store":
        """The same store, which gives each call up sooner."""
        store = copy.copy(self)
        store._s3 = s3_client(most_attempts)
        return store

    def _at(self, path: str) -> dict[str, str]:
        key = f"{self.prefix}/{check_path(path)}".lstrip("/")
        if len(key.encode(errors="replace")) > LONGEST_KEY_BYTES:
            raise PermanentError(
                f"a key in S3 must have at most {LONGEST_KEY_BYTES:,} bytes; received a longer one: {shortened(key)}; "
                "set STORE_URI or --store to a shorter prefix"
            )
        return {"Bucket": self.bucket, "Key": key}

    def read(self, path: str, max_bytes: int = LARGEST_RECORD_BYTES) -> bytes:
        with s3_errors(f"{self.uri}/{path}"):
            return read_object(self._s3, self._at(path), max_bytes)[0]

    def digest(self, path: str, max_bytes: int) -> tuple[str, int]:
        with s3_errors(f"{self.uri}/{path}"):
            return digest_object(self._s3, self._at(path), max_bytes)

    def read_version(self, path: str) -> tuple[bytes, str]:
        with s3_errors(f"{self.uri}/{path}"):
            return read_object(self._s3, self._at(path), LARGEST_RECORD_BYTES)

    def write(self, path: str, data: bytes | Path) -> None:
        check_source(data)
        check_names(path)
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
        check_names(path)
        with s3_errors(f"{self.uri}/{path}"):
            for attempt in _until_decided(f"{self.uri}/{path}"):
                with attempt:
                    return self._put_once(path, data, attempt.retry_state.attempt_number > 1, condition)
        raise AssertionError("tenacity gives a result or an error")

    def _put_once(self, path: str, data: bytes, tried_before: bool, condition: dict[str, str]) -> bool:
        """Raises ClientError where S3 did not decide."""
        try:
            self._s3.put_object(Body=data, **self._at(path), **condition)
        except botocore.exceptions.ClientError as error:
            if code(error) in {"PreconditionFailed", "412"}:
                # Of a try whose answer was lost, the next one meets what it wrote.
                tried_before |= error.response["ResponseMetadata"].get("RetryAttempts", 0) > 0
                return tried_before and self._holds(path, data)
            if "IfMatch" in condition and code(error) == "NoSuchKey":
                return False
            if status(error) == 501:
                raise PermanentError(
                    f"the S3 server of {self.uri} must honour {_HEADERS[min(condition)]} on writes; it answered "
                    f"{code(error)} (501): use one that does, such as AWS, SeaweedFS or MinIO"
                ) from error
            raise
        return True

    def _holds(self, path: str, data: bytes) -> bool:
        try:
            return self.read(path) == data
        except NotFound:  # removed meanwhile
            return False

    def delete(self, path: str) -> None:
        with s3_errors(f"{self.uri}/{path}"):
            self._s3.delete_object(**self._at(path))

    def exists(self, path: str) -> bool:
        return self._listed(path)[1] is not None

    def _listed(self, path: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """A listing of `path` alone, and what it says of it; None where nothing lies there.

        By a listing, and not by HEAD: a HEAD's 403 and 404 come without a body, so nothing could say why.
        """
        key = self._at(path)["Key"]
        with s3_errors(f"{self.uri}/{path}"):
            page = checked_listing(self._s3.list_objects_v2(Bucket=self.bucket, Prefix=key, MaxKeys=1))
            return page, next((entry for entry in page.get("Contents", []) if entry["Key"] == key), None)

    def incomplete_uploads(self, prefix: str, older_than_s: float) -> list[str]:
        start = self._at(prefix)["Key"].rstrip("/") + "/"
        with s3_errors(f"{self.uri}/{prefix}"):
            pages = self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=start)
            return sorted(
                f"{self._path(upload)}{UPLOAD}{upload['UploadId']}"
                for page in pages
                for upload in checked_listing(page).get("Uploads", [])
                if _age_s(page, upload["Initiated"]) >= older_than_s
            )

    def discard(self, incomplete_upload: str) -> None:
        path, _, upload = incomplete_upload.rpartition(UPLOAD)
        with s3_errors(f"{self.uri}/{path}"), suppress(self._s3.exceptions.NoSuchUpload):
            self._s3.abort_multipart_upload(**self._at(path), UploadId=upload)

    def list(self, prefix: str) -> list[str]:
        with s3_errors(f"{self.uri}/{prefix}"):
            return sorted(self._path(entry) for page in self._pages(prefix) for entry in page.get("Contents", []))

    def ages(self, prefix: str) -> dict[str, float]:
        with s3_errors(f"{self.uri}/{prefix}"):
            return {
                self._path(entry): _age_s(page, entry["LastModified"])
                for page in self._pages(prefix)
                for entry in page.get("Contents", [])
            }

    def age(self, path: str) -> float | None:
        page, entry = self._listed(path)
        with s3_errors(f"{self.uri}/{path}"):
            return _age_s(page, entry["LastModified"]) if entry else None

    def _pages(self, prefix: str) -> Iterator[dict[str, Any]]:
        start = self._at(prefix)["Key"].rstrip("/") + "/"
        return listing_pages(self._s3, self.bucket, start)

    def _path(self, entry: dict[str, Any]) -> str:
        return str(entry["Key"]).removeprefix(f"{self.prefix}/" if self.prefix else "")

    def local_path(self, path: str, sha256: str, size_bytes: int) -> Path:
        def download(stream: BinaryIO) -> None:
            with s3_errors(f"{self.uri}/{path}"):
                _, entry = self._listed(path)
                if entry is None:
                    raise NotFound(f"nothing is stored at {self.uri}/{path}")
                check_stored_size(entry["Size"], size_bytes, path)
                self._s3.download_fileobj(self.bucket, self._at(path)["Key"], stream)

        return self.cache.copy(path, sha256, size_bytes, download)

    def url(self, path: str) -> str:
        with s3_errors(f"{self.uri}/{path}"):
            kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
            shown = {**self._at(path), "ResponseContentType": kind}  # so that a browser shows a page, not a download
            return str(self._s3.generate_presigned_url("get_object", Params=shown, ExpiresIn=URL_LIFETIME_S))


_again = tenacity.retry(
    retry=tenacity.retry_if_exception_type(TransientError),
    wait=tenacity.wait_random_exponential(multiplier=0.5, max=10),
    stop=tenacity.stop_after_attempt(TRIES),
    reraise=True,
)
"""boto3 tries again what fails before the answer's body, not within it."""


@_again
def read_object(s3: Any, at: dict[str, str], max_bytes: int) -> tuple[bytes, str]:
    """Content and version."""
    answer = s3.get_object(**at)
    return b"".join(_parts(answer, at, max_bytes)), answer["ETag"]


@_again
def digest_object(s3: Any, at: dict[str, str], max_bytes: int) -> tuple[str, int]:
    """sha256 and number of bytes."""
    sha256, size = hashlib.sha256(), 0
    for part in _parts(s3.get_object(**at), at, max_bytes):
        sha256.update(part)
        size += len(part)
    return sha256.hexdigest(), size


def _parts(answer: dict[str, Any], at: dict[str, str], max_bytes: int) -> Iterator[bytes]:
    address, size = f"s3://{at['Bucket']}/{at['Key']}", 0
    check_size(address, answer.get("ContentLength", 0), max_bytes)
    try:
        for part in answer["Body"].iter_chunks(PART_BYTES):  # an answer in HTTP's chunks does not say its size before
            size += len(part)
            check_size(address, size, max_bytes)
            yield part
    except CUT_ANSWERS as error:
        raise TransientError(f"{address}: the answer was cut: {error}") from error


_HEADERS = {"IfNoneMatch": "If-None-Match", "IfMatch": "If-Match"}


def _until_decided(address: str) -> tenacity.Retrying:
    """Tries again while another write to the same path is under way."""

    def give_up(state: tenacity.RetryCallState) -> None:
        raise TransientError(f"{address}: other writes to it are under way, {TRIES} times in a row; run again")

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(
            lambda error: isinstance(error, botocore.exceptions.ClientError) and code(error) in CONFLICTS
        ),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=5),
        stop=tenacity.stop_after_attempt(TRIES),
        retry_error_callback=give_up,
    )


def listing_pages(s3: Any, bucket: str, start: str) -> Iterator[dict[str, Any]]:
    """What S3 says of all keys that begin with `start`, a page at a time."""
    yield from map(checked_listing, s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start))


def checked_listing(page: dict[str, Any]) -> dict[str, Any]:
    """`page`, which must have what every listing says. Raises ValueError: another page would read as an empty store."""
    if not {"Bucket", "IsTruncated", "KeyCount", "Name"} & set(page):
        raise ValueError("it is no listing")
    return page


def _age_s(page: dict[str, Any], then: datetime) -> float:
    """Seconds since `then`, by the server's clock alone: it dated its answer too, though in whole seconds."""
    now = parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])
    return float(max(0.0, (now - then).total_seconds()))
