"""A publisher over HTTP that answers in the ways there are, and what tests of downloads share."""

import gzip
import hashlib
from base64 import b64encode
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from lib.data.datasets import DatasetSpec, SplitDigests
from lib.data.fetch import fetch
from lib.data.upstream import UpstreamFile
from lib.errors import PipelineError

BODY = bytes(range(256)) * 4_000  # 1,024,000 bytes


def whole(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An answer, with its length."""
    return answer(f"Content-Length: {len(body)}", *headers, body=body, status=status)


def answer(*headers: str, body: bytes = b"", status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body


def redirect(to: str) -> bytes:
    return answer(f"Location: {to}", "Content-Length: 0", "Connection: close", status="302 Found")


PACKED = gzip.compress(BODY)
RAW = {
    "no-content": answer(status="204 No Content"),
    "part": whole(b"hello", "Content-Range: bytes 0-4/10", status="206 Partial Content"),
    "not-modified": answer(status="304 Not Modified"),
    "created": whole(b"hello", status="201 Created"),
    "no-number": answer("Content-Length: abc", body=b"hello"),
    "negative": answer("Content-Length: -5", body=b"hello"),
    "two-lengths": answer("Content-Length: 5, 6", body=b"hello"),
    "chunked": answer("Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
    "chunks-cut": answer("Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"),
    "chunk-cut": answer("Transfer-Encoding: chunked", body=b"9\r\nhello"),
    "packed": answer(body=PACKED),
    "packed-in-members": answer(body=gzip.compress(b"") * 90_000),
    "packed-cut": answer(body=PACKED[:-9]),
    "labelled": whole(PACKED, "Content-Encoding: gzip"),
    "to-nothing": redirect(""),
    "to-bad-ipv6": redirect("http://[::1"),
    "to-bad-port": redirect("http://host:port/"),
    "to-a-file": redirect("file:///etc/passwd"),
    "to-ftp": redirect("ftp://host/a.bin"),
    "to-a-backslash": redirect("http://127.0.0.1\\@169.254.169.254/"),
    "to-metadata": redirect("http://169.254.169.254/latest/meta-data"),
    "to-metadata-in-decimal": redirect("http://2852039166/latest"),
    "to-metadata-in-ipv6": redirect("http://[::ffff:169.254.169.254]/latest"),
    "to-metadata-of-ipv6": redirect("http://[fd00:ec2::254]/latest"),
    "to-link-local": redirect("http://[fe80::1]/a.bin"),
    "to-itself": redirect("/to-itself/a.bin"),
    "to-plain": redirect("/plain/a.bin"),
    "no-http": b"SSH-2.0-OpenSSH_9.6\r\n",
    "no-status": b"HTTP/1.1 nobody-may-see-this\r\n\r\n",
    "no-version": b"HTTP/nobody-may-see-this 200 OK\r\n\r\n",
    "no-chunk": answer("Transfer-Encoding: chunked", body=b"nobody-may-see-this\r\n"),
    "a-long-line": b"nobody-may-see-this" * 3_000 + b"\r\n",
}


class Publisher(BaseHTTPRequestHandler):
    """Answers by the first part of the path."""

    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        case = self.path.split("/")[1]
        if case.isdigit():
            self.send_error(int(case))
            return
        if case in RAW:
            self.wfile.write(RAW[case])
            return
        if case == "private":
            self._answer_to_who_has_the_password()
            return
        self.send_response(200)
        if case == "packing" and "gzip" in self.headers.get("Accept-Encoding", ""):
            self.send_header("Content-Encoding", "gzip")
        if case != "endless":
            self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[:1000] if case == "cut" else BODY)

    def _answer_to_who_has_the_password(self) -> None:
        expected = "Basic " + b64encode(b"user:p@ss").decode()
        known = self.headers.get("Authorization") == expected and self.path == "/private/a.bin?token=secret"
        self.wfile.write(whole(b"hello") if known else b"HTTP/1.0 401 No\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


def upstream(url: str, max_bytes: int = 2_000_000, md5: str | None = None) -> UpstreamFile:
    return UpstreamFile(role="all", url=url, max_bytes=max_bytes, md5=md5)


def quiet(name: str, done: int, total: int) -> None:
    pass


def refusal(kind: type[PipelineError], file: UpstreamFile, mirror: str | None, folder: Path) -> str:
    """Fetch, which must fail as `kind`, on one line, and leave nothing of the file, whole or partial."""
    with pytest.raises(PipelineError) as error:
        fetch(file, mirror, folder, quiet)
    assert type(error.value) is kind
    assert "\n" not in str(error.value)
    assert list(folder.glob(f"{file.name}*")) == []
    return str(error.value)


FILES = {
    "train-images": bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 10, 20, 30, 40]),
    "train-labels": bytes([0, 0, 8, 1, 0, 0, 0, 2, 1, 0]),
    "test-images": bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 50, 60]),
    "test-labels": bytes([0, 0, 8, 1, 0, 0, 0, 1, 1]),
}


def sha256(*data: int) -> str:
    return hashlib.sha256(bytes(data)).hexdigest()


TOY = DatasetSpec(
    name="toy",
    title="Toy",
    format="idx",
    files=tuple(UpstreamFile(role=role, url=f"https://host/{role}.gz", max_bytes=1000) for role in FILES),
    image_shape=(1, 2, 1),
    rows={"train": 2, "test": 1},
    class_names=("no", "yes"),
    digests={
        "train": SplitDigests(images=sha256(10, 20, 30, 40), labels=sha256(1, 0)),
        "test": SplitDigests(images=sha256(50, 60), labels=sha256(1)),
    },
    validation_rows=1,
    source="made up",
    licence="none",
    citation="nobody",
)
