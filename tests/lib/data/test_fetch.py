"""Files from publishers and mirrors, over each way there is."""

import hashlib
import os
from pathlib import Path

import pytest

from lib.data.fetch import fetch
from lib.errors import PermanentError, TransientError
from lib.store import open_store

from .publisher import BODY, quiet, refusal, upstream


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
    assert said.startswith(f"{url} cannot be had: HTTP {status}; set MIRROR_URL to a place that has it")


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
    assert said == (
        f"{url} must have md5 {'0' * 32}; received {found}; run again to fetch it anew, or set MIRROR_URL to a place "
        "that has the file"
    )


def test_a_mirrors_file_of_another_digest_is_said_to_be_the_mirrors(host: str, tmp_path: Path) -> None:
    file = upstream(f"{host}/plain/a.bin").model_copy(update={"sha256": "0" * 64})
    assert refusal(PermanentError, file, f"{host}/plain", tmp_path) == (
        f"{host}/plain/a.bin must have sha256 {'0' * 64}; received {hashlib.sha256(BODY).hexdigest()}; "
        "check MIRROR_URL: each file there must be the publisher's own, under the publisher's name for it"
    )


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
        assert calls.pop(0) == ("a.bin", 0, 0)
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


def test_a_mirrors_file_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.bin")
    (tmp_path / "to").mkdir()
    said = refusal(PermanentError, upstream("https://host/a.bin"), tmp_path.as_uri(), tmp_path / "to")
    assert said == f"the mirror must hold {tmp_path}/a.bin as a file; received none; check MIRROR_URL"
