"""The doctor says whether a mirror answers, and whether pretrained weights are where a run would look for them."""

import uuid
from pathlib import Path

import pytest

from deployments.checks import Verdict, check_mirror, check_weights
from lib.data.upstream import UpstreamFile
from lib.models.imagenet import IMAGENET_FILES
from lib.models.recipes import RECIPES
from lib.store import LocalStore
from lib.store.s3 import S3Store
from tests.s3_server import S3Server
from tests.web_server import web_server

MOBILENET = RECIPES["mobilenet"].backbone


def test_a_mirror_is_readable_or_fails(tmp_path: Path, s3_environment: object) -> None:
    with web_server(403) as listed_by_nobody, web_server(503) as busy:
        mirrors = (None, tmp_path.as_uri(), "s3://test-bucket/mirror", listed_by_nobody)
        assert [check_mirror(url).level for url in mirrors] == ["ok"] * 4
        failing = ((tmp_path / "gone").as_uri(), "s3://no-such-bucket/mirror", busy, "ftp://host/mirror")
        for url, reason in zip(
            failing,
            ("No such file", "the bucket does not exist", "it answers HTTP 503", "it must begin with file://"),
            strict=True,
        ):
            verdict = check_mirror(url)
            assert (verdict.level, verdict.remedy) == ("FAIL", "check it, or unset MIRROR_URL")
            assert verdict.found.startswith(f"{url} cannot be read (")
            assert reason in verdict.found


def test_weights_are_in_the_store_or_where_a_run_would_look_or_its_models_fail(tmp_path: Path) -> None:
    assert MOBILENET
    store, mirror = LocalStore(tmp_path / "store"), (tmp_path / "mirror")
    mirror.mkdir()
    missing = check_weights(store, MOBILENET, mirror.as_uri())
    files = ("mobilenet_1_0_224_tf_no_top.h5", "mobilenet_1_0_224_tf_no_top.weights.h5")
    places = " or ".join(f"{mirror.as_uri()}/{file}" for file in files)
    assert str(missing) == (
        f"warn  weights      mobilenet: neither in the store nor to be had at {places}; its models fail: "
        "put them there, set MIRROR_URL to a place that has them, or train with --weights none"
    )
    (mirror / files[1]).touch()
    there = check_weights(store, MOBILENET, mirror.as_uri())
    told = f"mobilenet: the first run fetches them from {mirror.as_uri()}/{files[1]}"
    assert there == Verdict("weights", "ok", told)
    (mirror / files[1]).unlink()


@pytest.mark.parametrize(("status", "level"), [(200, "ok"), (404, "warn"), (503, "warn")])
def test_a_mirror_and_a_publisher_on_the_web_are_asked(
    status: int, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOBILENET
    with web_server(status) as url:
        assert check_weights(LocalStore(tmp_path), MOBILENET, url.replace("//", "//user:word@")).level == level
        published = UpstreamFile(role="weights", url=f"{url}/x.h5", max_bytes=1)
        monkeypatch.setitem(IMAGENET_FILES, "mobilenet", (published,))
        verdict = check_weights(LocalStore(tmp_path), MOBILENET, None)
    assert verdict.level == level
    assert f"{url}/x.h5" in verdict.found


def test_weights_in_an_s3_mirror_are_found(tmp_path: Path, s3_environment: S3Server) -> None:
    assert MOBILENET
    mirror = f"s3://{s3_environment.bucket}/{uuid.uuid4().hex}"
    assert check_weights(LocalStore(tmp_path), MOBILENET, mirror).level == "warn"
    S3Store(mirror, tmp_path / "cache").write("mobilenet_1_0_224_tf_no_top.h5", b"x")
    assert check_weights(LocalStore(tmp_path), MOBILENET, mirror).level == "ok"


def test_weights_of_an_optional_package_are_there_or_not_set_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, lite = LocalStore(tmp_path), RECIPES["backbones-frozen"].beside[0]
    assert check_weights(store, lite, None) == Verdict("weights", "ok", "efficientnet-lite0: in an installed package")
    (file,) = IMAGENET_FILES[lite.name]
    monkeypatch.setitem(IMAGENET_FILES, lite.name, (file.model_copy(update={"package": "no-such-package"}),))
    absent = check_weights(store, lite, None)
    assert absent.level == "ok", "an installation can do without"
    assert absent.found.startswith("not set up: the ImageNet weights of efficientnet-lite0 are in an optional package")
    (tmp_path / file.name).touch()
    found = check_weights(store, lite, tmp_path.as_uri()).found
    assert found == f"efficientnet-lite0: the first run fetches them from {tmp_path.as_uri()}/{file.name}"


def test_a_mirror_s_password_is_not_shown(tmp_path: Path) -> None:
    assert MOBILENET
    with web_server(503) as url:
        mirror = url.replace("//", "//user:word@")
        said = f"{check_mirror(mirror)} {check_weights(LocalStore(tmp_path), MOBILENET, mirror)}"
    assert "word" not in said
    assert url in said
