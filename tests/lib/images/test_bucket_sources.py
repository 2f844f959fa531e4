"""Where a user's own images lie in a bucket, of a real S3 server."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.errors import PermanentError
from lib.images import sources
from lib.images.sources import Source, open_source
from tests.s3_server import S3Server

from .test_sources import SET_UP, listed


@pytest.fixture
def prefix(s3_environment: S3Server) -> str:
    """Of a few objects of a new folder in a bucket."""
    folder, client = uuid.uuid4().hex, s3_environment.client()
    for key in ("cat/1.jpg", "cat/\U0001f33b b.jpg", "cat/.DS_Store", "a.csv", "a.zip", "spark.parquet/part-0.parquet"):
        client.put_object(Bucket=s3_environment.bucket, Key=f"{folder}/{key}", Body=key.encode())
    client.put_object(Bucket=s3_environment.bucket, Key=f"{folder}-other/cat/2.jpg", Body=b"")
    return f"s3://{s3_environment.bucket}/{folder}"


@pytest.mark.parametrize("end", ["", "/"])
def test_a_prefix_of_a_bucket_is_a_folder(prefix: str, tmp_path: Path, end: str) -> None:
    source = open_source(f"{prefix}{end}", tmp_path / "cache")
    assert listed(source) == ["a.csv", "a.zip", "cat/1.jpg", "cat/\U0001f33b b.jpg", "spark.parquet/part-0.parquet"]
    assert (source.uri, source.table, source.refused) == (prefix, None, [])
    assert source.read("cat/\U0001f33b b.jpg", 100) == "cat/\U0001f33b b.jpg".encode()


def test_an_object_is_a_table_and_is_copied_once(
    prefix: str, tmp_path: Path, s3_environment: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(f"{prefix}/a.csv", tmp_path / "cache")
    assert (source.uri, source.table, listed(source)) == (f"{prefix}/a.csv", "a.csv", ["a.csv"])
    assert source.read("cat/1.jpg", 100) == b"cat/1.jpg"
    copy = source.local("a.csv")
    assert copy.read_bytes() == b"a.csv"
    assert copy.stat().st_ino == open_source(f"{prefix}/a.csv", tmp_path / "cache").local("a.csv").stat().st_ino
    key = f"{prefix.rpartition('/')[2]}/a.csv"
    s3_environment.client().put_object(Bucket=s3_environment.bucket, Key=key, Body=b"other")
    assert open_source(f"{prefix}/a.csv", tmp_path / "cache").local("a.csv").read_bytes() == b"other"


def test_a_folder_named_as_a_table_is_a_folder(prefix: str, tmp_path: Path) -> None:
    source = open_source(f"{prefix}/spark.parquet", tmp_path / "cache")
    assert (source.table, listed(source)) == (None, ["part-0.parquet"])


WRONG_OBJECTS: dict[str, tuple[Callable[[Source], object], str, str]] = {
    "no objects": (lambda source: source.paths(), "/no", "--from must name a place with files; received {}/no, "),
    "another kind": (lambda source: source.paths(), "/a.zip", f"{SET_UP}; received {{}}/a.zip, another f"),
    "a missing object": (lambda source: source.read("cat/2.jpg", 9), "", "nothing is stored at {}/cat/2.jpg"),
    "a large object": (
        lambda source: (source.paths(), source.read("cat/1.jpg", 8)),
        "",
        "{}/cat/1.jpg must have at most 8 bytes; received 9",
    ),
    "a large object that was not listed": (
        lambda source: source.read("cat/1.jpg", 8), "", "{}/cat/1.jpg must have at most 8 bytes; received more",
    ),
    "a copy of nothing": (lambda source: source.local("x.parquet"), "", "nothing lies at {}/x.parquet"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_OBJECTS)
def test_a_place_without_objects_is_refused_on_one_line(prefix: str, tmp_path: Path, name: str) -> None:
    use, below, says = WRONG_OBJECTS[name]
    with pytest.raises(PermanentError) as caught:
        use(open_source(f"{prefix}{below}", tmp_path))
    assert str(caught.value).startswith(says.format(prefix))


def test_a_bucket_that_is_not_there_is_named_with_the_option(s3_environment: S3Server, tmp_path: Path) -> None:
    with pytest.raises(
        PermanentError, match=r"^s3://no-such-bucket/x: the bucket does not exist; make it, or set --fr"
    ):
        open_source("s3://no-such-bucket/x", tmp_path).paths()


def test_keys_that_are_refused_say_what_to_do(prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(
        PermanentError, match=r"^S3 refused s3://.* \(403\); check the keys in AWS_ACCESS_KEY_ID and AWS_"
    ):
        open_source(prefix, tmp_path).paths()


def test_keys_that_are_no_paths_are_refused_by_name(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = prefix.removeprefix(f"s3://{prefix.split('/')[2]}/")
    keys = ["a//1.jpg", "a/../1.jpg", "./1.jpg", "/1.jpg", "a/", "", "b/1.jpg", "a/.x/1.jpg"]
    page = {"Contents": [{"Key": f"{folder}/{key}", "Size": 1, "ETag": "1"} for key in keys]}
    monkeypatch.setattr(sources, "listing_pages", lambda *_: [page])
    source = open_source(f"{prefix}/", tmp_path)
    assert listed(source) == ["b/1.jpg"]
    assert [place for place, _ in source.refused] == ["a//1.jpg", "a/../1.jpg", "./1.jpg", "/1.jpg"]
    assert {reason for _, reason in source.refused} == {"a key with parts that are empty, . or .."}
