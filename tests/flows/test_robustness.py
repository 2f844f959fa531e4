"""`--robustness` adds what it names and nothing else, and costs no evaluation where it goes wrong."""

import logging
import shutil
from pathlib import Path

import pytest
from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.train_model import train_model
from lib.errors import PermanentError
from lib.lineage.manifests import Ref
from tasks import evaluation

from .conftest import QUICK, Commands


@pytest.fixture
def store(finished: tuple[Path, str], tmp_path: Path) -> Path:
    shutil.copytree(finished[0], tmp_path / "store")
    return tmp_path / "store"


def made(store: Path) -> set[str]:
    return {path.parent.relative_to(store).as_posix() for path in store.glob("**/manifest.json")}


@pytest.mark.slow
@pytest.mark.usefixtures("clean_environment")
def test_a_run_that_asks_for_it_later_only_adds_it_and_a_report_and_a_second_does_nothing(
    store: Path, commands: Commands
) -> None:
    before = made(store)
    asked = (*QUICK, "--robustness", "--store", str(store))
    done = commands.run("flows.train", *asked)
    assert done.returncode == 0, done.stderr
    new = made(store) - before
    assert sorted(each.split("/")[0] for each in new) == ["reports", "robustness"]
    report = Path(done.stdout.splitlines()[-1].removeprefix("Report: file://"))
    assert report.parent.relative_to(store).as_posix() in new
    assert "made worse in 6 ways at 3 severities" in report.read_text()
    again = commands.run("flows.train", *asked, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert (again.returncode, again.stderr) == (0, f"Store: {store}\n")
    assert "nothing to train" in again.stdout
    assert made(store) - before == new
    checked = commands.run("flows.verify", report.parent.relative_to(store).as_posix(), "--store", str(store))
    assert checked.returncode == 0, checked.stderr
    assert "robustness/digits/digits-softmax/" in checked.stdout


def test_where_it_goes_wrong_the_evaluation_stands_and_a_warning_is_said(
    store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @task(cache_policy=NO_CACHE)
    def fails(recipe: object, model: Ref) -> Ref:
        raise PermanentError("the dog ate it")

    monkeypatch.setenv("STORE_URI", str(store))
    monkeypatch.setitem(evaluation.BESIDE, "robustness", fails)
    before = made(store)
    with caplog.at_level(logging.WARNING):
        ref = train_model("digits-softmax", epochs=3, overrides={"batch_size": "8"}, robustness=True)
    assert ref.uri in before
    assert made(store) == before
    assert "digits-softmax: no robustness: the dog ate it" in caplog.text
