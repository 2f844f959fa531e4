"""What a person sees of a download where no terminal is."""

import io
import logging

import pytest

from tasks.display import show_download


def test_a_download_without_a_terminal_is_logged_as_it_begins_and_once_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    caplog.set_level(logging.INFO)
    now = 0.0
    with show_download(logging.getLogger("run"), lambda: now) as progress:
        for name, total in (("a.gz", 180_000_000), ("b.gz", 0)):
            progress(name, 0, 0)
            for second in range(1, 131):
                now += 1
                progress(name, second * 1_000_000, total)
    assert [record.getMessage() for record in caplog.records] == [
        "fetching a.gz: 0.0 MB",
        "fetching a.gz: 60.0 MB of 180.0 MB",
        "fetching a.gz: 120.0 MB of 180.0 MB",
        "fetching b.gz: 0.0 MB",
        "fetching b.gz: 60.0 MB",
        "fetching b.gz: 120.0 MB",
    ]


def test_on_a_terminal_the_bar_alone_says_it(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stderr", Terminal())
    caplog.set_level(logging.INFO)
    with show_download(logging.getLogger("run")) as progress:
        progress("a.gz", 0, 0)
        progress("a.gz", 1, 2)
    assert caplog.records == []
