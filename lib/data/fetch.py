"""Upstream or mirror → a whole local file, or an error and nothing."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlparse

import pooch
import requests

from lib.data.upstream import UpstreamFile
from lib.errors import PermanentError, TransientError
from lib.store.s3 import s3_client, s3_errors

BLOCK_BYTES = 1 << 18

Progress = Callable[[str, int, int], None]
"""Called with what is being fetched, bytes so far, and bytes in all (0: not known)."""


def fetch(file: UpstreamFile, mirror_url: str | None, folder: Path, progress: Progress) -> Path:
    """Bring `file` from `mirror_url` (file://, http(s):// or s3://), or from its publisher, into `folder`.

    Raises PermanentError (not there, too large, another checksum) or TransientError (unreachable, cut, busy).
    """
    url = f"{mirror_url.rstrip('/')}/{file.name}" if mirror_url else file.url
    target, partial = folder / file.name, folder / f"{file.name}.partial"
    meter = _Meter(url, file, progress)
    scheme = urlparse(url).scheme
    if scheme not in SCHEMES:
        raise PermanentError(f"MIRROR_URL must begin with file://, https:// or s3://; received {mirror_url or url!r}")
    try:
        SCHEMES[scheme](url, partial, meter)
        meter.check(partial.stat().st_size)
        if file.md5 and not mirror_url:
            _check(partial, "md5", file.md5, url)
        if file.sha256:
            _check(partial, "sha256", file.sha256, url)
        return partial.replace(target)
    except OSError as error:
        raise PermanentError(f"{partial} cannot be written: {error.strerror}; free space, or set TMPDIR") from error
    finally:
        partial.unlink(missing_ok=True)


class _Meter:
    """Counts bytes for the display and stops what grows past the file's limit. The names are pooch's."""

    def __init__(self, url: str, file: UpstreamFile, progress: Progress) -> None:
        self.url, self.file, self.progress = url, file, progress
        self.total = 0
        self.done = 0

    def update(self, size: int) -> None:
        self.done += size
        self.check(max(self.total, self.done - BLOCK_BYTES))  # pooch counts whole blocks
        self.progress(self.file.name, min(self.done, self.total or self.done), self.total)

    def check(self, size: int) -> None:
        if size > self.file.max_bytes:
            raise PermanentError(
                f"{self.file.name} must be at most {self.file.max_bytes:,} bytes; "
                f"received {size:,} from {self.url}; check MIRROR_URL"
            )

    def reset(self) -> None:
        if self.total:  # else pooch would end the count at 0
            self.done = 0

    def close(self) -> None:
        pass


def _over_http(url: str, partial: Path, meter: _Meter) -> None:
    try:
        # "identity": a server that packs what it sends would have its .gz files unpacked here.
        download = pooch.HTTPDownloader(
            progressbar=meter, chunk_size=BLOCK_BYTES, timeout=30, headers={"Accept-Encoding": "identity"}
        )
        download(url, str(partial), None)
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in {408, 425, 429} or status >= 500:
            raise TransientError(f"{url} is not answering now: HTTP {status}") from error
        raise PermanentError(f"{url} cannot be had: HTTP {status}; set MIRROR_URL to a place that has it") from error
    except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema) as error:
        raise PermanentError(f"not an address: {url}; set MIRROR_URL to https://host/folder") from error
    except requests.RequestException as error:
        reason = str(error).replace("\n", " ")
        raise TransientError(f"{url} cannot be reached: {reason}; check the network, or set MIRROR_URL") from error


def _from_s3(url: str, partial: Path, meter: _Meter) -> None:
    address = urlparse(url)
    key = address.path.lstrip("/")
    with s3_errors(url):
        s3 = s3_client()
        # A head's error has no body to explain itself; a get of one object has.
        answer = s3.get_object(Bucket=address.netloc, Key=key)
        meter.total = answer["ContentLength"]
        with partial.open("wb") as out:
            for block in answer["Body"].iter_chunks(BLOCK_BYTES):
                out.write(block)
                meter.update(len(block))


def _from_folder(url: str, partial: Path, meter: _Meter) -> None:
    source = Path(unquote(urlparse(url).path))
    try:
        meter.total = source.stat().st_size
        stream = source.open("rb")
    except OSError as error:
        raise PermanentError(f"the mirror must hold {source}: {error.strerror}; check MIRROR_URL") from error
    with stream, partial.open("wb") as out:
        meter.update(meter.total)
        shutil.copyfileobj(stream, out)


SCHEMES = {"http": _over_http, "https": _over_http, "s3": _from_s3, "file": _from_folder}


def _check(partial: Path, algorithm: str, expected: str, url: str) -> None:
    with partial.open("rb") as stream:
        found = hashlib.file_digest(stream, algorithm).hexdigest()
    if found != expected:
        raise PermanentError(f"{url} must have {algorithm} {expected}; received {found}; try again, or set MIRROR_URL")
