"""The list of a dataset's reports: what it says of each, what it passes over, and several runs at once."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lib.data.datasets import DATASETS
from lib.errors import PermanentError
from lib.lineage.manifests import StoredFile, commit, put_file
from lib.lineage.verify import verify
from lib.reporting.report_list import LOOKS, write_report_list, write_report_lists
from lib.store import LocalStore
from tests.whole import whole_manifest

LIST = "reports/digits/index.html"
HOSTILE = "<script>alert('x')</script>"
CNN, SOFTMAX = ("digits-cnn", 0.98611, 3), ("digits-softmax", 0.95, 3)


class Cells(HTMLParser):
    """The text of each cell of a page's table, line by line, and where its links lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.lines: list[list[str]] = []
        self.links: list[str] = []
        self._in_cell = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.lines.append([])
        if tag in {"th", "td"}:
            self.lines[-1].append("")
            self._in_cell = True
        if tag == "a":
            self.links.append(dict(attrs)["href"] or "")

    def handle_endtag(self, tag: str) -> None:
        self._in_cell &= tag not in {"th", "td"}

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.lines[-1][-1] += data


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def report(
    store: LocalStore,
    key: str,
    at: str,
    *lines: tuple[str, float, int],
    started_by: str = "the schedule daily",
    limit: int | None = None,
    kind: str = "report",
    **facts: Any,
) -> str:
    """Commit a report of these models, validation accuracies and seeds; its page, from the folder of the list."""
    address = f"reports/digits/{key}"
    board = [dict(zip(("model", "validation_accuracy", "seed"), line, strict=True)) for line in lines]
    page = put_file(store, address, "index.html", b"a page")
    manifest = whole_manifest(
        kind,
        address,
        facts={"dataset": "digits", "limit": limit, "leaderboard": board, **facts},
        files={"index": page},
        made_by={"at": at, "started_by": started_by},
    )
    commit(store, address, manifest)
    return page.path.removeprefix("reports/digits/")


def listed(store: LocalStore, path: str = LIST) -> Cells:
    return Cells(store.read(path).decode())


def test_each_report_is_a_line_the_newest_first(store: LocalStore) -> None:
    older = report(store, "b", "2026-11-24T23:30:00+00:00", CNN, SOFTMAX)
    two_seeds = ("cnn, seed 0", 1.0, 0), ("cnn, seed 12", 0.5, 12)
    newest = report(store, "a", "2026-11-26T04:05:59+00:00", *two_seeds, limit=1500)
    oldest = report(store, "c", "2026-11-25T01:00:00+02:00", started_by="")
    write_report_list(store, "digits")
    page = listed(store)
    assert page.lines == [
        ["Made", "Started by", "Best model", "Validation accuracy", "Models", "Seeds", "Training images"],
        ["26 November 2026, 04:05 UTC", "the schedule daily", "cnn, seed 0", "1.0000", "2", "0, 12", "1,500 only"],
        ["24 November 2026, 23:30 UTC", "the schedule daily", "digits-cnn", "0.9861", "2", "3", "all"],
        ["24 November 2026, 23:00 UTC", "not recorded", "none was trained", "none", "0", "none", "all"],
    ]
    assert page.links == [newest, older, oldest]
    for link in page.links:
        assert ((store.root / LIST).parent / link).read_bytes() == b"a page"
    text = store.read(LIST).decode()
    assert f"<title>{DATASETS['digits'].title}: training reports</title>" in text
    assert "3 reports, the newest first." in text
    assert "not comparable" in text


def test_without_a_limit_there_is_no_word_of_one(store: LocalStore) -> None:
    report(store, "a", "2026-11-26T04:05:00+00:00", CNN)
    write_report_list(store, "digits")
    assert listed(store).lines[0][-1] == "Seeds"
    assert "1 report." in store.read(LIST).decode()
    assert "not comparable" not in store.read(LIST).decode()


def test_a_dataset_without_a_report_has_a_sentence(store: LocalStore) -> None:
    write_report_list(store, "digits")
    assert "There is no report of this dataset here." in store.read(LIST).decode()
    assert listed(store).lines == []


def test_a_hostile_name_is_text(store: LocalStore) -> None:
    page = report(store, "javascript:alert(1)", "2026-11-26T04:05:00+00:00", (HOSTILE, 0.5, 0), started_by=HOSTILE)
    write_report_list(store, "digits")
    text = store.read(LIST).decode()
    assert "<script" not in text
    assert listed(store).lines[1][1:3] == [HOSTILE, HOSTILE]
    assert listed(store).links == [page.replace(":", "%3A").replace("(", "%28").replace(")", "%29")]
    write_report_list(store, HOSTILE.replace("/", "|"))
    assert "<script" not in store.read(f"reports/{HOSTILE.replace('/', '|')}/index.html").decode()


def test_what_is_no_readable_report_is_passed_over_and_counted(store: LocalStore) -> None:
    good = report(store, "good", "2026-11-26T04:05:00+00:00", CNN)
    report(store, "no-time", "yesterday", CNN)
    report(store, "before-all-time", "0001-01-01T00:00:00+14:00", CNN)
    report(store, "no-number", "2026-11-26T04:05:00+00:00", ("cnn", "high", 0))  # type: ignore[arg-type]
    report(store, "no-seed", "2026-11-26T04:05:00+00:00", leaderboard=[{"model": "cnn", "validation_accuracy": 0.5}])
    report(store, "another-kind", "2026-11-26T04:05:00+00:00", CNN, kind="model")
    elsewhere = StoredFile(path="reports/digits/good/../../../../etc/passwd", sha256="0" * 64, size_bytes=0)
    address, files = "reports/digits/elsewhere", {"index": elsewhere}
    forged = whole_manifest("report", address, files=files, made_by={"at": "2026-11-26"})
    store.write(f"{address}/manifest.json", forged.to_json())
    store.write("reports/digits/damaged/manifest.json", b"{}")
    store.write("reports/digits/deep/er/manifest.json", b"{}")
    store.write("reports/digits/manifest.json", b"{}")
    write_report_list(store, "digits")
    assert listed(store).links == [good]
    assert "7 reports are not listed, because this version of the code cannot read them." in store.read(LIST).decode()


def test_a_report_of_another_run_that_ends_meanwhile_is_listed(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run listed its report before this one wrote its list, which would take the row away again."""
    first, others, write = report(store, "a", "2026-11-26T04:05:00+00:00", CNN), list[str](), LocalStore.write

    def slow(self: LocalStore, path: str, data: bytes) -> None:
        if path == LIST and not others:
            others.append(report(store, "b", "2026-11-26T04:06:00+00:00", CNN))
            write_report_list(store, "digits")
        write(self, path, data)

    monkeypatch.setattr(LocalStore, "write", slow)
    write_report_list(store, "digits")
    assert listed(store).links == [*others, first]


def test_it_does_not_look_for_ever(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    write, written = LocalStore.write, list[str]()

    def beside_a_busy_run(self: LocalStore, path: str, data: bytes) -> None:
        write(self, path, data)
        if path == LIST:
            written.append(report(store, f"{len(written)}", "2026-11-26T04:06:00+00:00", CNN))

    monkeypatch.setattr(LocalStore, "write", beside_a_busy_run)
    write_report_list(store, "digits")
    assert len(written) == LOOKS


def test_all_lists_are_those_of_datasets_with_a_report_or_a_list(store: LocalStore) -> None:
    report(store, "a", "2026-11-26T04:05:00+00:00", CNN)
    store.write("reports/gone/index.html", b"a list of deleted reports")
    store.write("reports/other/notes/index.html", b"not ours")
    store.write("reports/notes.txt", b"not ours")
    write_report_lists(store)
    assert len(listed(store).links) == 1
    assert "There is no report" in store.read("reports/gone/index.html").decode()
    assert [path for path in store.list("reports") if re.match("reports/(other|notes)", path)] == [
        "reports/notes.txt",
        "reports/other/notes/index.html",
    ]


def test_the_list_is_no_output_to_verify(store: LocalStore) -> None:
    write_report_list(store, "digits")
    with pytest.raises(PermanentError, match=r"^nothing finished lies at reports/digits in "):
        verify(store, "reports/digits")
