"""Lines of the list of reports: where each point lies, and that names do not run into one another."""

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from lib.reporting.report_list import write_report_list
from lib.reporting.trend import LINE, MOST, Reading, trend
from lib.store import LocalStore

from .test_report_list import LIST, report

DAYS = [datetime(2026, 11, day, tzinfo=UTC) for day in (1, 2, 5)]


def test_time_goes_to_the_right_and_accuracy_up() -> None:
    found = trend([Reading(at, "a", value) for at, value in zip(DAYS, (0.8, 0.9, 0.85), strict=True)])
    assert found is not None
    (line,) = found.series
    left, top, right, bottom = found.frame
    xs, ys = [point.x for point in line.points], [point.y for point in line.points]
    assert (xs[1] - xs[0]) / (xs[2] - xs[0]) == pytest.approx(1 / 4, abs=1e-3)
    assert left < xs[0] < xs[2] < right
    assert (ys[0] - ys[2]) / (ys[0] - ys[1]) == pytest.approx(1 / 2, abs=1e-2)
    assert top <= ys[1] < ys[0] <= bottom
    assert line.points[1].said == "a, 2026-11-02: 90.0\N{NO-BREAK SPACE}%"
    assert [tick.label for tick in found.x_ticks] == ["1 Nov 2026", "5 Nov 2026"]
    assert [tick.label for tick in found.y_ticks] == ["80 %", "82 %", "84 %", "86 %", "88 %", "90 %"]
    assert ys[0] == found.y_ticks[0].place


def test_names_of_many_lines_have_room_each_and_the_worst_are_left_out() -> None:
    readings = [Reading(at, f"model-{number}", 0.9 + number / 1_000) for at in DAYS[:2] for number in range(MOST + 2)]
    found = trend([*readings, Reading(DAYS[0], "model-5", 0.1)])
    assert found is not None
    assert found.left_out == 2
    assert [each.model for each in found.series] == [f"model-{number}" for number in range(MOST + 1, 1, -1)]
    assert len({(each.colour, each.mark) for each in found.series}) == MOST
    places = sorted(each.label_y for each in found.series)
    assert all(lower - upper >= LINE for upper, lower in pairwise(places))
    assert places[0] >= 0
    assert places[-1] <= found.size[1]


def test_one_moment_or_equal_values_make_no_trouble() -> None:
    assert trend([]) is None
    assert trend([Reading(DAYS[0], "a", 0.5)]) is None
    level = trend([Reading(at, "a", 1.0) for at in DAYS])
    assert level is not None
    assert [tick.label for tick in level.y_ticks] == ["99.95 %", "100 %"]


def test_the_list_draws_a_line_of_each_recipe_over_full_reports(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    report(store, "a", "2026-11-01T00:00:00+00:00", ("cnn, seed 0", 0.5, 0), ("cnn, seed 1", 0.7, 1), ("b", 0.6, 0))
    write_report_list(store, "digits")
    assert "<polyline" not in store.read(LIST).decode()
    report(store, "b", "2026-11-05T00:00:00+00:00", ("cnn", 0.8, 0))
    report(store, "c", "2026-11-09T00:00:00+00:00", ("limited", 0.1, 0), limit=100)
    write_report_list(store, "digits")
    page = store.read(LIST).decode()
    assert page.count("<polyline") == 2
    assert "<title>cnn, 2026-11-01: 70.0\N{NO-BREAK SPACE}%</title>" in page
    assert "limited, 2026" not in page
