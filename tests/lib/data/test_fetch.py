"""Files from publishers and mirrors, over each way there is."""

import gzip
import hashlib
import logging
import os
import socket
import threading
import traceback
from base64 import b64encode
from collections.abc import Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from lib.data.fetch import fetch
from lib.data.http import _check_redirect
from lib.data.upstream import UpstreamFile
from lib.errors import PermanentError, PipelineError, TransientError
from lib.store import open_store

BODY = bytes(range(256)) * 4_000  # 1,024,000 bytes


def whole(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An answer, with its length."""
    return answer(f"Content-Length: {len(body)}", *headers, body=body, status=status)


def answer(*headers: str, body: bytes = b"", status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body


def redirect(to: str) -> bytes:
    return answer(f"Location: {to}", "Content-Length: 0", "Connection: close", status="302 Found")


MARKER = "nobody-may-see-this"
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


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


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


@pytest.mark.parametrize("case", ["plain", "endless", "packing"])
def test_a_file_comes_whole(host: str, tmp_path: Path, case: str) -> None:
    path = fetch(upstream(f"{host}/{case}/a.bin"), None, tmp_path, quiet)
    assert path == tmp_path / "a.bin"
    assert path.read_bytes() == BODY
    assert list(tmp_path.iterdir()) == [path]


def test_a_mirror_replaces_the_publishers_folder(host: str, tmp_path: Path) -> None:
    file = upstream("http://127.0.0.1:1/far/away/a.bin")
    assert fetch(file, f"{host}/plain/", tmp_path, quiet).read_bytes() == BODY


@pytest.mark.parametrize("status", [403, 404])
def test_what_is_not_there_stays_away(host: str, tmp_path: Path, status: int) -> None:
    url = f"{host}/{status}/a.bin"
    said = refusal(PermanentError, upstream(url), None, tmp_path)
    assert said == f"{url} cannot be had: HTTP {status}; set MIRROR_URL to a place that has it"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_publisher_may_answer_later(host: str, tmp_path: Path, status: int) -> None:
    url = f"{host}/{status}/a.bin"
    assert refusal(TransientError, upstream(url), None, tmp_path) == f"{url} is not answering now: HTTP {status}"


def test_a_publisher_that_cannot_be_reached_may_come_back(tmp_path: Path) -> None:
    said = refusal(TransientError, upstream("http://127.0.0.1:1/a.bin"), None, tmp_path)
    assert said.startswith("http://127.0.0.1:1/a.bin cannot be reached: ")
    assert said.endswith("; check the network, or set MIRROR_URL")


def test_a_transfer_that_is_cut_may_succeed_later(host: str, tmp_path: Path) -> None:
    said = refusal(TransientError, upstream(f"{host}/cut/a.bin"), None, tmp_path)
    assert said.startswith(f"{host}/cut/a.bin cannot be reached: ")


@pytest.mark.parametrize("case", ["plain", "endless"])
def test_a_file_larger_than_its_limit_is_refused(host: str, tmp_path: Path, case: str) -> None:
    url = f"{host}/{case}/a.bin"
    said = refusal(PermanentError, upstream(url, max_bytes=1_023_999), None, tmp_path)
    assert said == f"a.bin must be at most 1,023,999 bytes; received 1,024,000 from {url}; check MIRROR_URL"
    assert fetch(upstream(url, max_bytes=1_024_000), None, tmp_path, quiet).stat().st_size == 1_024_000


def test_a_stream_without_a_length_is_stopped_on_its_way(host: str, tmp_path: Path) -> None:
    counts: list[int] = []
    with pytest.raises(PermanentError, match=r"a\.bin must be at most 1,000 bytes"):
        fetch(upstream(f"{host}/endless/a.bin", max_bytes=1000), None, tmp_path, lambda *call: counts.append(call[1]))
    assert sum(counts) <= 1000


def test_the_publishers_checksum_is_held(host: str, tmp_path: Path) -> None:
    url = f"{host}/plain/a.bin"
    found = hashlib.md5(BODY).hexdigest()
    assert fetch(upstream(url, md5=found), None, tmp_path, quiet).read_bytes() == BODY
    (tmp_path / "a.bin").unlink()
    said = refusal(PermanentError, upstream(url, md5="0" * 32), None, tmp_path)
    assert said == f"{url} must have md5 {'0' * 32}; received {found}; set MIRROR_URL to a place that has the file"


def test_a_mirror_may_have_packed_it_anew(host: str, tmp_path: Path) -> None:
    file = upstream(f"{host}/plain/a.bin", md5="0" * 32)
    assert fetch(file, f"{host}/plain", tmp_path, quiet).read_bytes() == BODY


def test_a_folder_can_be_a_mirror(tmp_path: Path) -> None:
    mirror, here = tmp_path / "mirror ä", tmp_path / "here"
    mirror.mkdir()
    here.mkdir()
    (mirror / "a.bin").write_bytes(BODY)
    assert fetch(upstream("https://host/a.bin"), mirror.as_uri(), here, quiet).read_bytes() == BODY
    said = refusal(PermanentError, upstream("https://host/b.bin"), mirror.as_uri(), here)
    assert said == f"the mirror must hold {mirror}/b.bin: No such file or directory; check MIRROR_URL"
    said = refusal(PermanentError, upstream("https://host/a.bin", 10), mirror.as_uri(), tmp_path)
    assert said.startswith("a.bin must be at most 10 bytes; received 1,024,000 from file://")


def test_a_bucket_can_be_a_mirror(s3_environment, tmp_path: Path) -> None:
    uri = f"s3://{s3_environment.bucket}/mirror"
    open_store(uri, tmp_path / "cache").write("a.bin", BODY)
    assert fetch(upstream("https://host/a.bin"), uri, tmp_path, quiet).read_bytes() == BODY
    (tmp_path / "a.bin").unlink()
    said = refusal(PermanentError, upstream("https://host/a.bin", 10), uri, tmp_path)
    assert said == f"a.bin must be at most 10 bytes; received 1,024,000 from {uri}/a.bin; check MIRROR_URL"
    with pytest.raises(PermanentError, match="nothing is stored at s3://test-bucket/mirror/none"):
        fetch(upstream("https://host/none"), uri, tmp_path, quiet)


@pytest.mark.parametrize("mirror", ["ftp://host/x", "some/folder", "https://"])
def test_other_kinds_of_address_are_refused(tmp_path: Path, mirror: str) -> None:
    said = refusal(PermanentError, upstream("https://host/a.bin"), mirror, tmp_path)
    assert said.startswith("MIRROR_URL must begin with file://, https:// or s3://")


def test_a_folder_that_cannot_be_written_is_named(host: str, tmp_path: Path) -> None:
    said = refusal(PermanentError, upstream(f"{host}/plain/a.bin"), None, tmp_path / "none")
    assert said.startswith(f"{tmp_path}/none/a.bin.partial cannot be written: No such file or directory")


def test_progress_grows_to_the_total(host: str, s3_environment, tmp_path: Path) -> None:
    open_store(f"s3://{s3_environment.bucket}/mirror", tmp_path / "cache").write("a.bin", BODY)
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "a.bin").write_bytes(BODY)
    mirrors = (f"{host}/plain", f"s3://{s3_environment.bucket}/mirror", (tmp_path / "mirror").as_uri())
    for mirror in mirrors:
        calls: list[tuple[str, int, int]] = []
        fetch(upstream("https://host/a.bin"), mirror, tmp_path, lambda *call, to=calls: to.append(call))
        assert {(name, total) for name, _, total in calls} == {("a.bin", 1_024_000)}
        counts = [done for _, done, _ in calls]
        assert counts == sorted(counts)
        assert counts[-1] == 1_024_000


def test_progress_without_a_known_total_does_not_fall_back(host: str, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    fetch(upstream(f"{host}/endless/a.bin"), None, tmp_path, lambda name, done, total: calls.append((done, total)))
    assert {total for _, total in calls} == {0}
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[-1][0] >= 1_024_000


@pytest.mark.parametrize(
    ("case", "kind", "rule"),
    [
        ("no-content", PermanentError, "cannot be had: HTTP 204"),
        ("part", PermanentError, "cannot be had: HTTP 206"),
        ("not-modified", PermanentError, "cannot be had: HTTP 304"),
        ("created", PermanentError, "cannot be had: HTTP 201"),
        ("no-number", PermanentError, "must say its length in bytes; its Content-Length is no number"),
        ("negative", PermanentError, "must say its length in bytes; its Content-Length is no number"),
        ("two-lengths", PermanentError, "answers with headers that contradict each other"),
        ("chunks-cut", TransientError, "cannot be reached: "),
        ("chunk-cut", TransientError, "cannot be reached: "),
        ("packed-cut", TransientError, "was cut: its gzip stream has no end"),
        ("to-bad-ipv6", PermanentError, "redirects to what is no address"),
        ("to-bad-port", PermanentError, "redirects to what is no address"),
        ("to-a-file", PermanentError, "redirects to what is no address"),
        ("to-ftp", PermanentError, "redirects to what is no address"),
        ("to-a-backslash", PermanentError, "redirects to what is no address"),
        ("to-metadata", PermanentError, "redirects to an address inside this machine or its cloud"),
        ("to-metadata-in-decimal", PermanentError, "redirects to an address inside this machine or its cloud"),
        ("to-metadata-in-ipv6", PermanentError, "redirects to an address inside this machine or its cloud"),
        ("to-metadata-of-ipv6", PermanentError, "redirects to an address inside this machine or its cloud"),
        ("to-link-local", PermanentError, "redirects to an address inside this machine or its cloud"),
        ("to-itself", PermanentError, "cannot be had: it redirects without end"),
        ("no-http", TransientError, "cannot be reached: "),
    ],
)
def test_an_answer_that_is_no_whole_file_is_refused(
    host: str, tmp_path: Path, case: str, kind: type[PipelineError], rule: str
) -> None:
    said = refusal(kind, upstream(f"{host}/{case}/a.gz"), None, tmp_path)
    assert said.startswith(f"{host}/{case}/a.gz {rule}")


@pytest.mark.parametrize(
    ("case", "content"),
    [("chunked", b"hello"), ("packed", PACKED), ("labelled", PACKED), ("to-plain", BODY)],
)
def test_an_answer_that_is_whole_is_kept_byte_for_byte(host: str, tmp_path: Path, case: str, content: bytes) -> None:
    assert fetch(upstream(f"{host}/{case}/a.gz"), None, tmp_path, quiet).read_bytes() == content


def test_a_file_of_which_neither_length_nor_digest_is_known_is_told_of(
    host: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fetch(upstream(f"{host}/plain/a.bin"), None, tmp_path, quiet)
    fetch(upstream(f"{host}/endless/a.bin", md5=hashlib.md5(BODY).hexdigest()), None, tmp_path, quiet)
    assert caplog.records == []
    fetch(upstream(f"{host}/endless/a.bin"), f"{host}/endless?token=secret", tmp_path, quiet)
    (told,) = caplog.messages
    assert told.startswith(f"{host}/endless/a.bin: the server did not say how long it is, and no digest is known")
    assert caplog.records[0].levelno == logging.WARNING


def test_another_digest_of_a_file_of_unknown_length_may_be_a_cut(host: str, tmp_path: Path) -> None:
    said = refusal(TransientError, upstream(f"{host}/endless/a.bin", md5="0" * 32), None, tmp_path)
    assert said.endswith("; the server did not say how long it is, so it may have been cut")


def test_a_transfer_that_hardly_moves_is_given_up(host: str, tmp_path: Path) -> None:
    times = iter(range(0, 100_000, 1000))  # each block comes 1,000 s after the one before
    with pytest.raises(TransientError, match=r"/plain/a\.bin must send 1,000 bytes a second; received ") as error:
        fetch(upstream(f"{host}/plain/a.bin"), None, tmp_path, quiet, clock=lambda: float(next(times)))
    assert "\n" not in str(error.value)


def test_an_answer_whose_first_line_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.data.http.ANSWERS_WITHIN_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections, and no more
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.bin"
        said = refusal(TransientError, upstream(url), None, tmp_path)
    assert said == f"{url} did not answer within 0.1 s; check the network"


@pytest.mark.parametrize(
    ("origin", "target", "refused"),
    [
        ("https://host/a", "http://host/a", True),
        ("https://host/a", "https://other/a", False),
        ("http://host/a", "https://host/a", False),
        ("http://host/a", "http://127.0.0.1/a", True),
        ("http://host/a", "http://0.0.0.0/a", True),
        ("http://127.0.0.1/a", "http://localhost/a", False),
        ("http://host/a", "http://10.0.0.1/a", False),
    ],
)
def test_a_redirect_leads_neither_to_plain_http_nor_inside_this_machine(
    origin: str, target: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo
    names = {"host": "192.0.2.1", "other": "192.0.2.2"}
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda name, *more, **options: resolve(names.get(name, name), *more, **options)
    )
    response = requests.Response()
    response.status_code, response.url, response.headers["Location"] = 302, origin, target
    with pytest.raises(PermanentError) if refused else nullcontext():
        _check_redirect(response)


def test_a_password_and_a_token_of_a_mirror_are_used_and_not_shown(host: str, tmp_path: Path) -> None:
    private = host.replace("//", "//user:p%40ss@") + "/private?token=secret"
    assert fetch(upstream("https://host/a.bin"), private, tmp_path, quiet).read_bytes() == b"hello"
    said = refusal(PermanentError, upstream("https://host/b.bin"), private, tmp_path)
    assert said == f"{host}/private/b.bin cannot be had: HTTP 401; set MIRROR_URL to a place that has it"


def test_a_password_of_a_mirror_that_cannot_be_reached_is_in_no_error_or_its_causes(tmp_path: Path) -> None:
    with pytest.raises(TransientError) as error:
        fetch(upstream("https://host/a.bin"), f"http://user:{MARKER}@127.0.0.1:1/x?token={MARKER}", tmp_path, quiet)
    assert MARKER not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("content", [None, b"no certificate"], ids=["missing", "garbage"])
def test_certificates_that_are_not_there_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_bytes(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    said = refusal(PermanentError, upstream("https://127.0.0.1:1/a.bin"), None, tmp_path)
    assert said.startswith(f"REQUESTS_CA_BUNDLE must name a file of CA certificates; received {bundle}: ")


def test_a_mirrors_file_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.bin")
    (tmp_path / "to").mkdir()
    said = refusal(PermanentError, upstream("https://host/a.bin"), tmp_path.as_uri(), tmp_path / "to")
    assert said == f"the mirror must hold {tmp_path}/a.bin as a file; received none; check MIRROR_URL"
