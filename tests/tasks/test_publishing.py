"""A report in the Prefect UI: small, and of no harm where it cannot be shown."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from lib.lineage.manifests import Ref
from tasks import publishing
from tasks.publishing import LEFT_OUT, fitting, publish_report

REPORT = Ref(uri="reports/digits/0", sha256=64 * "0")


def picture(size: int) -> str:
    return f"![a](data:image/png;base64,{'A' * size})"


def test_the_largest_pictures_are_left_out_until_the_rest_fits() -> None:
    small, large, larger = picture(100), picture(2_000), picture(3_000)
    text = f"# é\n{small}\n{large}\n{larger}\nend\n"
    assert fitting(text, len(text.encode())) == text
    assert fitting(text, 2_500) == f"# é\n{small}\n{large}\n{LEFT_OUT}\nend\n"
    assert fitting(text, 500) == f"# é\n{small}\n{LEFT_OUT}\n{LEFT_OUT}\nend\n"


def test_what_is_too_long_without_pictures_ends_after_a_line() -> None:
    lines = [f"| é {number} |" for number in range(1_000)]
    kept = fitting("\n".join(lines), 1_000)
    shown, _, said = kept.partition("\n\n*The rest is left out here")
    assert said
    assert len(kept.encode()) <= 1_000
    assert shown.splitlines() == lines[: len(shown.splitlines())]


def test_a_report_that_prefect_cannot_show_is_a_report_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("no\nserver")

    monkeypatch.setenv("STORE_URI", str(tmp_path))
    monkeypatch.setattr(publishing, "build_report", lambda *_, **__: REPORT)
    monkeypatch.setattr(publishing, "leaderboard_table", lambda *_: [])
    monkeypatch.setattr(publishing, "load", lambda *_: SimpleNamespace(facts={"limit": None}))
    monkeypatch.setattr(publishing, "last_best", lambda *_: None)
    monkeypatch.setattr(publishing, "report_summary", lambda *_: "x")
    monkeypatch.setattr(publishing, "report_url", lambda *_: "file:///x")
    monkeypatch.setattr(publishing, "report_markdown", lambda *_: "x")
    monkeypatch.setattr(publishing, "get_run_logger", lambda: logging.getLogger("publishing"))
    for name in ("create_table_artifact", "create_markdown_artifact", "create_link_artifact"):
        monkeypatch.setattr(publishing, name, refuse)
    with caplog.at_level(logging.WARNING):
        assert publish_report.fn("digits", REPORT, [], {}, "hand", False, [], {}) == REPORT
    assert caplog.messages == 3 * ["reports/digits/0 is in the store; Prefect does not show all of it: no server"]


def test_what_prefect_is_given_of_a_report_is_at_most_300_kb_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []
    rows = [{"Model": f"{number} {'x' * 200}", "Validation accuracy": "0.9"} for number in range(1_000)]
    rows = [dict.fromkeys(publishing.SHOWN, "") | row for row in rows]
    monkeypatch.setattr(publishing, "report_markdown", lambda *_: f"# a report\n{picture(600_000)}\n{'é' * 500_000}")
    monkeypatch.setattr(publishing, "report_summary", lambda *_: "a summary")
    monkeypatch.setattr(publishing, "report_url", lambda *_: "file:///x")
    monkeypatch.setattr(publishing, "leaderboard_table", lambda *_: rows)
    monkeypatch.setattr(publishing, "load", lambda *_: SimpleNamespace(facts={"limit": None}))
    monkeypatch.setattr(publishing, "last_best", lambda *_: None)
    monkeypatch.setattr(publishing, "announce", lambda *_: None)
    for kind in ("table", "markdown", "link"):
        monkeypatch.setattr(publishing, f"create_{kind}_artifact", lambda *values, **more: given.append([values, more]))
    for show in (publishing._show_leaderboard, publishing._show_report, publishing._show_link):
        show(SimpleNamespace(uri="/store"), "digits", REPORT)  # type: ignore[arg-type]
    assert len(given) == 3
    assert len(json.dumps(given, ensure_ascii=False).encode()) <= 300_000
    assert "0 xxx" in str(given[0]), "the best models are kept"


def test_a_list_of_reports_that_cannot_be_written_fails_no_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "reports" / "digits" / "index.html").mkdir(parents=True)
    monkeypatch.setenv("STORE_URI", str(tmp_path))
    monkeypatch.setattr(publishing, "build_report", lambda *_, **__: REPORT)
    for show in ("_show_leaderboard", "_show_report", "_show_link"):
        monkeypatch.setattr(publishing, show, lambda *_: None)
    monkeypatch.setattr(publishing, "get_run_logger", lambda: logging.getLogger("publishing"))
    with caplog.at_level(logging.WARNING):
        assert publish_report.fn("digits", REPORT, [], {}, "hand", False, [], {}) == REPORT
    (said,) = caplog.messages
    assert said.startswith("reports/digits/0 is in the store; the list of reports lacks it until the next report: ")
    assert "index.html" in said
