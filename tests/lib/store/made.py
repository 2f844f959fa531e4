"""What tests of stores share."""

import uuid

import pytest

from lib.errors import PipelineError
from lib.store import LocalStore, Store
from lib.store.s3 import S3Store

# printf hello | sha256sum
HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


def message(error: pytest.ExceptionInfo[PipelineError]) -> str:
    """The error's text, which must be one line."""
    text = str(error.value)
    assert "\n" not in text
    return text


def cut_a_write(store: Store, path: str) -> None:
    """Leave what a kill in the middle of a write to `path` leaves."""
    if isinstance(store, LocalStore):
        file = store.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_name(f".partial-{uuid.uuid4().hex}").write_bytes(b"half")
        return
    assert isinstance(store, S3Store)
    at = {"Bucket": store.bucket, "Key": f"{store.prefix}/{path}"}
    upload = store._s3.create_multipart_upload(**at)["UploadId"]
    store._s3.upload_part(**at, UploadId=upload, PartNumber=1, Body=b"half")
