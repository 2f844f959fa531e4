"""What the doctor says of servers and mirrors that answer in unusual ways."""

from pathlib import Path

import pytest

from deployments.checks import (
    Verdict,
    check_clock,
    check_deployments,
    check_mirror,
    check_schedules,
    check_weights,
)
from deployments.configuration import Parameters
from deployments.doctor import attempt
from deployments.ports import free_ports
from lib.models.imagenet import IMAGENET_FILES
from lib.models.recipes import RECIPES
from lib.store import open_store
from tests.web_server import endless_server, web_server

MOBILENET = next(each.backbone for each in RECIPES.values() if each.backbone and each.backbone.name == "mobilenet")
WANTED = ["train-all/digits", "ingest/digits"]


@pytest.mark.parametrize(("ahead_s", "level"), [(0, "ok"), (30, "ok"), (-90, "warn"), (3600, "warn")])
def test_a_clock_more_than_a_minute_off_is_told(ahead_s: float, level: str) -> None:
    closed = f"http://127.0.0.1:{free_ports(1)[0]}/api"
    with web_server(403, ahead_s) as url:
        verdict = check_clock([closed, url])
    assert verdict.level == level
    seconds, _, server = verdict.found.partition(" s from that of ")
    assert abs(ahead_s) - 2 < float(seconds) < abs(ahead_s) + 2
    assert f"http://{server}" == url


@pytest.mark.parametrize("date", ["soon", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "0", "Mon, 99 Foo 2026"])
def test_a_date_that_is_none_is_told(date: str) -> None:
    with web_server(date=date) as url:
        assert check_clock([url]) == Verdict("clock", "warn", "not checked: no server answers with a date")


@pytest.mark.parametrize("after", ["", "/", "?token=secret", "/?token=secret", "#part", "/?token=secret#part"])
def test_weights_are_looked_for_where_a_run_would_fetch_them(after: str, tmp_path: Path) -> None:
    with web_server() as url:
        verdict = check_weights(open_store(str(tmp_path), tmp_path), MOBILENET, f"{url}/data{after}")
    place = f"{url}/data/{IMAGENET_FILES['mobilenet'][0].name}"
    assert verdict == Verdict("weights", "ok", f"mobilenet: the first run fetches them from {place}")


@pytest.mark.parametrize("after", ["", "/", "?token=secret", "#part?token=secret"])
def test_the_mirror_is_told_without_its_token(after: str) -> None:
    with web_server() as url:
        assert str(check_mirror(f"{url}/data{after}")).startswith(f"ok    mirror       {url}/data")
        assert "secret" not in str(check_mirror(f"{url}/data{after}"))
    assert "secret" not in str(check_mirror(f"{url}/data{after}"))


def test_what_a_mirror_answers_that_is_no_http_is_not_told() -> None:
    with endless_server(b"HTTP/1.1 secret\r\n\r\n", b"x") as url:
        said = str(check_mirror(url))
    assert said.startswith(f"FAIL  mirror       {url} cannot be read (it does not answer as HTTP); ")


@pytest.mark.parametrize(
    ("versions", "verdict"),
    [
        (dict.fromkeys(WANTED, "1a2b3c"), Verdict("deployments", "ok", "2, all at commit 1a2b3c")),
        (
            {"train-all/digits": "1a2b3c", "ingest/digits": "4d5e6f"},
            Verdict("deployments", "warn", "2, at commit 1a2b3c, 4d5e6f; this code is 1a2b3c", "make deploy"),
        ),
        ({"train-all/digits": "1a2b3c"}, Verdict("deployments", "FAIL", "missing: ingest/digits", "make deploy")),
    ],
)
def test_deployments_are_all_there_and_of_this_commit_or_deployed_again(
    versions: dict[str, str | None], verdict: Verdict
) -> None:
    assert check_deployments(versions, WANTED, "1a2b3c") == verdict


def test_a_schedule_that_has_lost_its_parameters_is_told() -> None:
    wanted: Parameters = {
        ("train-all/digits", "nightly"): {"seed": "fresh"},
        ("train-all/digits", "hourly"): {"seed": "fresh", "limit": 100},
        ("retention/store", "weekly"): {},
    }
    assert check_schedules(wanted, wanted) == Verdict("schedules", "ok", "3, each with its parameters")
    told = {**wanted, ("train-all/digits", "hourly"): {}}
    found = "paused or resumed in the UI, and so without their parameters: hourly of train-all/digits"
    assert check_schedules(told, wanted) == Verdict("schedules", "FAIL", found, "make deploy")
    del told["train-all/digits", "hourly"]  # `deployments` says so
    assert check_schedules(told, wanted).level == "ok"


def test_a_check_that_does_not_end_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.doctor.ANSWERS_WITHIN_S", 0.1)
    said = "FAIL  clock        what it asks did not answer within 0.1 s; look at its log, and at the network"
    with endless_server(b"HTTP/1.1 200 OK\r\nX-A: ", b"x") as url:
        assert str(attempt("clock", check_clock, [url])) == said
