"""Some models of a run cannot be had: the others have their results, and each is accounted for."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib.lineage.manifests import load
from lib.store import LocalStore

from .conftest import QUICK, REPOSITORY, Commands
from .test_train import refs

pytestmark = pytest.mark.usefixtures("clean_environment")
NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1"}


@pytest.fixture
def store(finished: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the store that a QUICK run has filled: its model is not trained again."""
    return Path(shutil.copytree(finished[0], tmp_path / "store"))


def models(*more: str) -> tuple[str, ...]:
    """QUICK with more models."""
    at = QUICK.index("--models") + 2
    return (*QUICK[:at], *more, *QUICK[at:])


@pytest.mark.slow
def test_one_model_failing_loses_one_model(store: Path, commands: Commands, tmp_path: Path) -> None:
    mirror = (tmp_path / "empty").as_uri()
    done = commands.run("flows.train", *models("mobilenet-frozen"), "--store", str(store), MIRROR_URL=mirror)
    assert done.returncode == 4, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: mobilenet-frozen: the ImageNet weights of mobilenet cannot be had: ")
    assert last.endswith("set --weights none (a random start), a file or s3:// address, or MIRROR_URL")
    assert "Traceback" not in done.stderr
    assert "     1   digits-softmax " in done.stdout
    assert "Left out: mobilenet-frozen: the ImageNet weights of mobilenet cannot be had" in done.stdout
    reports = [
        load(LocalStore(store), ref) for uri, ref in refs(LocalStore(store)).items() if uri.startswith("reports/")
    ]
    (made,) = (report for report in reports if report.facts["left_out"] == ["mobilenet-frozen"])
    assert [row["model"] for row in made.facts["leaderboard"]] == ["digits-softmax"]


@pytest.mark.slow
def test_what_needs_a_gpu_is_left_out_and_said_so(store: Path, commands: Commands) -> None:
    asked = (*models("resnet50"), "--store", str(store))
    shutil.rmtree(store / "reports")  # or all would be done but for what is left out
    done = commands.run("flows.train", *asked, **NO_GPU)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Left out: resnet50: no GPU here; --allow-cpu trains without, slowly") == 1
    assert "GPU" not in done.stderr, "it is said once, at the end"
    assert {"WARNING", "ERROR"}.isdisjoint(done.stderr.split())
    (report,) = store.glob("reports/digits/*/index-*.html")
    assert "resnet50: runs on a GPU and this machine has none; --allow-cpu (ALLOW_CPU=1)" in report.read_text()
    again = commands.run("flows.train", *asked, **NO_GPU, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert (again.returncode, again.stderr) == (0, f"Store: {store}\n")
    assert "nothing to train" in again.stdout


@pytest.mark.slow
def test_a_gpu_recipe_alone_is_refused_where_there_is_none(store: Path, commands: Commands) -> None:
    done = commands.run("flows.train", "--models", "resnet50", "--store", str(store), **NO_GPU)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: resnet50 runs on a GPU and this machine has none")


PLAN = """
import sys
from flows.train import command
command(sys.argv[1:])
assert not {"tensorflow", "keras"} & set(sys.modules)
"""


def test_a_plan_loads_no_tensorflow_starts_no_server_and_changes_nothing(store: Path, commands: Commands) -> None:
    before = sorted(store.rglob("*"))
    environment = {**commands.environment, **NO_GPU, "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    asked = (*models("digits-cnn", "resnet50"), "--store", str(store), "--plan")
    done = subprocess.run(
        [sys.executable, "-c", PLAN, *asked],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "train digits-softmax done 10,250 22,588" in lines
    assert any(line.startswith("train digits-cnn would run 50,138 3,124,156 ") for line in lines)
    assert "train digits-cnn would run: never trained" in lines
    assert "train resnet50 left out" in lines
    assert sorted(store.rglob("*")) == before
