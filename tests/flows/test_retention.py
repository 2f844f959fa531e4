"""The command that cleans up."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from flows.retention import _sum, retention
from lib.errors import PermanentError
from lib.lineage.retention import Removal
from lib.reporting.report_list import write_report_list
from lib.store import LocalStore
from tests.lib.lineage.made import addresses, age, everything, reported, trained


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def run(store: LocalStore, *arguments: str) -> tuple[int, list[str], list[str]]:
    """Exit code, and the lines on standard output and standard error."""
    command = [sys.executable, "-m", "flows.retention", "--store", store.uri, *arguments]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    errors = done.stderr.removeprefix(f"Store: {store.uri}\n").splitlines()
    return done.returncode, done.stdout.splitlines(), errors


def test_the_command_removes_only_when_told_to(store: LocalStore) -> None:
    trained(store, "old", 1)
    trained(store, "new", 2)
    store.write("models/toy/cnn/new/loser.bin", b"loser")
    age(store, "models/toy/cnn/new/loser.bin", days=2)
    before = everything(store)
    sizes = [
        len((store.root / path).read_bytes())
        for kind in ("evaluations", "models")
        for path in sorted(store.list(f"{kind}/toy/cnn/old"), reverse=True)  # the manifest first
    ]
    total = f"5 files, {sum(sizes):,} bytes and 1 of unknown size"
    code, said, errors = run(store, "--keep", "1")
    assert (code, errors) == (0, [])
    assert said[0] == "would remove  models/toy/cnn/new/loser.bin  named by no manifest"
    assert said[1] == f"would remove  evaluations/toy/cnn/old/manifest.json  old evaluation, {sizes[0]:,} bytes"
    assert said[3] == f"would remove  models/toy/cnn/old/manifest.json  old model, {sizes[2]:,} bytes"
    assert said[5:] == [f"would remove {total}; nothing is removed; add --delete"]
    assert everything(store) == before
    code, said, errors = run(store, "--keep", "1", "--delete")
    assert (code, errors, len(said)) == (0, [], 6)
    assert said[0] == "removed  models/toy/cnn/new/loser.bin  named by no manifest"
    assert said[5] == f"removed {total}"
    assert [path for path in before if path not in everything(store)] == sorted(
        line.split("  ")[1] for line in said[:5]
    )
    assert run(store, "--keep", "1") == (0, ["would remove 0 files, 0 bytes"], [])


@pytest.mark.slow
def test_the_command_says_in_one_line_what_it_cannot_do(store: LocalStore) -> None:
    trained(store, "m", 1)
    store.write("models/toy/cnn/m/loser.bin", b"loser")
    rule = "error: the request is not valid: keep: Input should be greater than or equal to 1; received 0"
    assert run(store, "--keep", "0", "--delete") == (2, [], [rule])
    store.write("models/toy/cnn/m/manifest.json", b"{}")
    code, said, errors = run(store, "--delete")
    assert (code, said) == (0, ["removed 0 files, 0 bytes"])
    assert errors == ["1 output with a damaged manifest left alone, such as models/toy/cnn/m"]
    assert store.exists("models/toy/cnn/m/loser.bin")


@pytest.mark.parametrize(
    ("sizes", "says"),
    [([], "0 files, 0 bytes"), ([1], "1 file, 1 byte"), ([2, None], "2 files, 2 bytes and 1 of unknown size")],
)
def test_the_sum_says_how_many(sizes: list[int | None], says: str) -> None:
    assert _sum([Removal("x", "", size) for size in sizes]) == says


def test_the_flow_lists_and_deletes_only_where_it_is_told_how_many_to_keep(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, day in (("old", 1), ("new", 2)):
        trained(store, key, day)
    monkeypatch.setenv("STORE_URI", store.uri)
    before = everything(store)
    retention()
    assert everything(store) == before
    retention(keep=1)
    assert not [path for path in everything(store) if "/old/" in path]
    with pytest.raises(PermanentError, match="keep"):
        retention.fn(keep=0)


@pytest.fixture
def listed_reports(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    """An old and a new report, and an old list of both."""
    for key, day in (("old", 1), ("new", 2)):
        reported(store, key, day, trained(store, key, day))
    write_report_list(store, "toy")
    age(store, "reports/toy/index.html", days=90)
    monkeypatch.setenv("STORE_URI", store.uri)
    return store


def test_the_list_of_reports_stays_and_lists_what_is_left(listed_reports: LocalStore) -> None:
    def links() -> list[str]:
        return re.findall('href="([^"/]*)/', listed_reports.read("reports/toy/index.html").decode())

    assert links() == ["new", "old"]
    retention.fn()
    assert links() == ["new", "old"], "nothing is deleted, so nothing is written"
    retention.fn(keep=1)
    assert addresses(listed_reports, "reports/toy") == ["new"]
    assert links() == ["new"]


@pytest.mark.parametrize("before", ["right", "old"])
def test_of_a_store_that_can_only_be_read_no_list_that_is_right_is_said_to_be_old(
    before: str, listed_reports: LocalStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: LocalStore, path: str, data: object) -> None:
        raise PermanentError("Read-only file system")

    if before == "old":
        listed_reports.write("reports/toy/index.html", b"a list that a clean-up before could not write")
    monkeypatch.setattr(LocalStore, "write", refuse)
    retention.fn(keep=9)
    said = "a list of reports may name deleted ones until the next report: Read-only file system"
    assert (said in capsys.readouterr().out) == (before == "old")


def test_a_list_of_reports_that_cannot_be_written_fails_no_clean_up(
    listed_reports: LocalStore, capsys: pytest.CaptureFixture[str]
) -> None:
    page = listed_reports.root / "reports/toy/index.html"
    page.unlink()
    page.mkdir()
    retention.fn(keep=1)
    assert addresses(listed_reports, "reports/toy") == ["new"]
    assert "\na list of reports may name deleted ones until the next report: " in capsys.readouterr().out
