"""Upstream or mirror → a whole local file, or an error and nothing."""

import hashlib
import logging
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlparse

from lib.addresses import bucket_and_key, file_in, folder, mirror
from lib.data.gunzip import BoundedGzip
from lib.data.http import download
from lib.data.upstream import UpstreamFile
from lib.errors import PermanentError, TransientError
from lib.redaction import without_secrets
from lib.store.s3 import s3_client, s3_errors
from lib.time_limits import WINDOW_S, TooSlow, check_rate

BLOCK_BYTES = 1 << 18
UNPACKED_BYTES = 4_000_000_000
"""At most, of a stream whose end is looked for: more is a bomb, which its parser refuses."""
Progress = Callable[[str, int, int], None]
"""Called with what is being fetched, bytes so far, and bytes in all (0: not known)."""


def fetch(
    file: UpstreamFile,
    mirror_url: str | None,
    to: Path,
    progress: Progress,
    clock: Callable[[], float] = time.monotonic,
) -> Path:
    """Bring `file` from `mirror_url` (file://, http(s):// or s3://), or from its publisher, into the folder `to`.

    Raises PermanentError (not there, too large, another checksum) or TransientError (unreachable, cut, busy, slow).
    """
    url = file_in(mirror(mirror_url), file.name) if mirror_url else file.url
    target, partial = to / file.name, to / f"{file.name}.partial"
    meter = Meter(url, file, progress, clock)
    progress(file.name, 0, 0)  # the first byte may take minutes
    try:
        SCHEMES[urlparse(url).scheme](url, partial, meter)
        _check(partial, file, url, meter.total is not None, from_mirror=bool(mirror_url))
        return partial.replace(target)
    except OSError as error:
        raise PermanentError(f"{partial} cannot be written: {error.strerror}; free space, or set TMPDIR") from error
    finally:
        partial.unlink(missing_ok=True)


def remedy(from_mirror: bool) -> str:
    """What helps where a file that was fetched is not the one that its publisher had as it was described here."""
    if from_mirror:
        return "check MIRROR_URL: each file there must be the publisher's own, under the publisher's name for it"
    return "run again to fetch it anew, or set MIRROR_URL to a place that has the file"


class Meter:
    """Counts bytes for the display, and stops what grows past the file's limit or hardly moves."""

    def __init__(self, url: str, file: UpstreamFile, progress: Progress, clock: Callable[[], float]) -> None:
        self.url, self.file, self.progress, self.clock = url, file, progress, clock
        self.done = 0
        self.total: int | None = None
        """Bytes in all; None where the server has not said."""
        self._since, self._before = clock(), 0

    def expect(self, total: int) -> None:
        """The server has said how long the file is."""
        self.total = total
        self._check_size(total)

    def add(self, size: int) -> None:
        """`size` more bytes have come."""
        self.done += size
        self._check_size(self.done)
        self._check_rate()
        self.progress(self.file.name, self.done, self.total or 0)

    def end(self) -> None:
        """No more will come."""
        if self.total is not None and self.done != self.total:
            raise TransientError(f"{self.url} was cut: {self.done:,} of {self.total:,} bytes came; run again")

    def _check_size(self, size: int) -> None:
        if size > self.file.max_bytes:
            raise PermanentError(
                f"{self.file.name} must be at most {self.file.max_bytes:,} bytes; "
                f"received {size:,} from {self.url}; check MIRROR_URL"
            )

    def _check_rate(self) -> None:
        if (passed := self.clock() - self._since) < WINDOW_S:
            return
        try:
            check_rate(self.done - self._before, passed)
        except TooSlow as error:
            raise TransientError(f"{self.url} {error}; check the network, or set MIRROR_URL") from None
        self._since, self._before = self.clock(), self.done


def _over_http(url: str, partial: Path, meter: Meter) -> None:
    with partial.open("wb") as out:
        for block in download(url, meter.expect):
            out.write(block)
            meter.add(len(block))
    meter.end()


def _from_s3(url: str, partial: Path, meter: Meter) -> None:
    bucket, key = bucket_and_key(url, "a file in S3 must be s3://bucket/key")
    with s3_errors(url):
        # A head's error has no body to explain itself; a get of one object has.
        answer = s3_client().get_object(Bucket=bucket, Key=key)
        meter.expect(answer["ContentLength"])
        with partial.open("wb") as out:
            for block in answer["Body"].iter_chunks(BLOCK_BYTES):
                out.write(block)
                meter.add(len(block))
    meter.end()


def _from_folder(url: str, partial: Path, meter: Meter) -> None:
    source = folder(url, "a mirror's file must be file:///…")
    try:
        if source.exists() and not source.is_file():  # a pipe or a device could block or never end
            raise PermanentError(f"the mirror must hold {source} as a file; received none; check MIRROR_URL")
        meter.expect(source.stat().st_size)
        stream = source.open("rb")
    except OSError as error:
        raise PermanentError(f"the mirror must hold {source}: {error.strerror}; check MIRROR_URL") from error
    with stream, partial.open("wb") as out:
        while block := stream.read(BLOCK_BYTES):
            out.write(block)
            meter.add(len(block))
    meter.end()


SCHEMES = {"http": _over_http, "https": _over_http, "s3": _from_s3, "file": _from_folder}


def _check(partial: Path, file: UpstreamFile, url: str, is_whole: bool, from_mirror: bool) -> None:
    """Hold the file to the digests that are known of it; without any, and without a length, to its format's end."""
    known = {"md5": None if from_mirror else file.md5, "sha256": file.sha256}
    for algorithm, expected in known.items():
        if expected and (received := _digest(partial, algorithm)) != expected:
            rule = f"{url} must have {algorithm} {expected}; received {received}"
            if not is_whole:
                raise TransientError(f"{rule}; the server did not say how long it is, so it may have been cut")
            raise PermanentError(f"{rule}; {remedy(from_mirror)}")
    if not is_whole and not any(known.values()):
        logging.getLogger(__name__).warning(
            "%s: the server did not say how long it is, and no digest is known: only its format shows that it is whole",
            without_secrets(url),
        )
        if file.name.endswith(".gz"):
            _read_gzip_to_its_end(partial, url)


def _digest(partial: Path, algorithm: str) -> str:
    with partial.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def _read_gzip_to_its_end(partial: Path, url: str) -> None:
    """Raise TransientError where the stream in it was cut; what else is wrong its parser says."""
    try:
        with BoundedGzip(partial, UNPACKED_BYTES) as stream:
            while stream.read(BLOCK_BYTES):
                pass
    except EOFError as error:
        raise TransientError(f"{url} was cut: its gzip stream has no end; run again") from error
    except (OSError, ValueError, zlib.error):
        pass
