"""What this version of the code wrote stays readable, and what another wrote is passed over in one line.

Where a test of the present store fails, the format has changed: raise SCHEMA_VERSION in lib/lineage/manifests.py, or
the version of the step, keep the manifests of tests/stores as those of the version before, and run
`python -m tests.pinned_stores`.
"""

import shutil
from pathlib import Path

import pytest

from lib.data.datasets import DATASETS
from lib.lineage.index import read_index
from lib.lineage.kept import Policy
from lib.lineage.manifests import OtherVersion, find
from lib.lineage.retention import CleanUp, plan
from lib.lineage.steps import STEPS
from lib.lineage.verify import verify
from lib.models.recipes import RECIPES
from lib.planning.outputs import find_report
from lib.planning.plan import make_plan
from lib.planning.preview import preview
from lib.planning.request import TrainingRequest
from lib.reporting.report import read_report
from lib.reporting.summary import leaderboard_table
from lib.store import LocalStore
from tests.pinned_stores import BEFORE, PNG, PRESENT
from tests.toy import RECIPE, SPEC


@pytest.fixture
def present(monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.setitem(DATASETS, SPEC.name, SPEC)
    monkeypatch.setitem(RECIPES, RECIPE.name, RECIPE)
    monkeypatch.setattr("lib.reporting.plots.png", lambda figure: PNG)
    return LocalStore(PRESENT)


def test_what_this_version_wrote_is_found_and_holds(present: LocalStore) -> None:
    report = find_report(present, make_plan(TrainingRequest(dataset="toy")), allow_cpu=False)
    assert report, "what a plan of today asks for is not what lies there"
    held: list[str] = []
    assert verify(present, report.uri, lambda address, manifest: held.append(manifest.kind)) == report
    elsewhere = {"images", "weights", "features", "robustness", "reevaluation", "decision", "prediction"}
    assert held == [kind for kind in STEPS if kind not in elsewhere]


def test_what_this_version_wrote_is_shown_and_kept(present: LocalStore) -> None:
    (path,) = present.root.glob("reports/toy/*/manifest.json")
    report, _ = find(present, path.parent.relative_to(present.root).as_posix()) or pytest.fail("no report")
    assert [row["Model"] for row in leaderboard_table(present, report)] == ["toy-softmax"]
    assert read_report(present, report).data.facts["rows"] == {"train": 50, "validation": 10, "test": 20}
    assert plan(present, Policy(keep=1, grace_s=0)) == CleanUp([])


def test_an_evaluation_of_an_older_version_of_its_step_is_no_damage(present: LocalStore, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    shutil.copytree(PRESENT, store.root)
    (path,) = store.root.glob("evaluations/toy/*/*/manifest.json")
    address = path.parent.relative_to(store.root).as_posix()
    _, manifest = find(store, address) or pytest.fail("no evaluation")
    del manifest.facts["temperature"], manifest.facts["metrics"]["test"]["intervals"]
    older = path.parent.rename(path.parents[1] / "0123456789abcdef").relative_to(store.root).as_posix()
    files = {name: file.model_copy(update={"path": file.path.replace(address, older)}) for name, file in
             manifest.files.items()}  # fmt: skip
    store.write(f"{older}/manifest.json", manifest.model_copy(update={"files": files}).to_json())
    assert read_index(store, store.list("evaluations")).damaged == {}
    assert not find_report(store, make_plan(TrainingRequest(dataset="toy")), allow_cpu=False), "it is made anew"


def test_what_the_version_before_wrote_is_passed_over_in_one_line(tmp_path: Path) -> None:
    shutil.copytree(BEFORE, tmp_path / "store")
    store = LocalStore(tmp_path / "store")
    (report,) = read_index(store, store.list("reports")).other_versions
    with pytest.raises(OtherVersion, match=rf"^{report} in .* was written by another version of this code"):
        find(store, report)
    found = plan(store, Policy(keep=1, grace_s=0))
    assert found.removals == []
    assert found.note == (
        "7 outputs of another version of this code left alone, such as datasets/digits/446a906224592c8d"
    )
    lines = preview(store, make_plan(TrainingRequest(dataset="digits")), allow_cpu=False)
    assert [line.state for line in lines if line.name == "train digits-cnn"] == ["would run"]
    assert all("\n" not in line.why for line in lines)
