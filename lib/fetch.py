"""Upstream or mirror → a whole local file, or an error and nothing."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlparse

import pooch
import requests

from lib.data.datasets import UpstreamFile
from lib.errors import PermanentError, TransientError
from lib.s3 import s3_client, s3_errors

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
    if scheme in {"http", "https"}:
        _over_http(url, partial, meter)
    elif scheme == "s3":
        _from_s3(url, partial, meter)
    elif scheme == "file":
        _from_folder(url, partial, meter)
    else:
        raise PermanentError(f"MIRROR_URL must begin with file://, https:// or s3://; received {mirror_url!r}")
    if file.md5 and not mirror_url:
        _check_md5(partial, file)
    return partial.replace(target)


class _Meter:
    """Counts bytes for the display and stops what grows past the file's limit. The names are pooch's."""

    def __init__(self, url: str, file: UpstreamFile, progress: Progress) -> None:
        self.url, self.file, self.progress = url, file, progress
        self.total = 0
        self.done = 0

    def update(self, size: int) -> None:
        self.done += size
        if max(self.total, self.done - (1 << 20)) > self.file.max_bytes:  # pooch counts whole blocks
            raise PermanentError(
                f"{self.file.name} must be at most {self.file.max_bytes:,} bytes; "
                f"received {max(self.total, self.done):,} from {self.url}; check MIRROR_URL"
            )
        self.progress(self.file.name, min(self.done, self.total or self.done), self.total)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        pass


def _over_http(url: str, partial: Path, meter: _Meter) -> None:
    try:
        pooch.HTTPDownloader(progressbar=meter, chunk_size=1 << 16, timeout=30)(url, str(partial), None)
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
            for block in answer["Body"].iter_chunks(1 << 20):
                out.write(block)
                meter.update(len(block))


def _from_folder(url: str, partial: Path, meter: _Meter) -> None:
    source = Path(unquote(urlparse(url).path))
    try:
        meter.total = source.stat().st_size
        meter.update(meter.total)
        shutil.copyfile(source, partial)
    except OSError as error:
        raise PermanentError(f"the mirror must hold {source}: {error.strerror}; check MIRROR_URL") from error


def _check_md5(partial: Path, file: UpstreamFile) -> None:
    with partial.open("rb") as stream:
        found = hashlib.file_digest(stream, "md5").hexdigest()
    if found != file.md5:
        raise PermanentError(f"{file.url} must have md5 {file.md5}; received {found}; try again, or set MIRROR_URL")
