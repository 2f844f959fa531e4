"""On a machine with a GPU: `pytest -m gpu`."""

from pathlib import Path

import pytest

from lib.lineage.manifests import MANIFEST, Manifest
from lib.runtime.hardware import has_gpu
from lib.store import LocalStore

from .conftest import Commands

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not has_gpu(), reason="no GPU here"),
    pytest.mark.usefixtures("clean_environment"),
]


def test_a_gpu_recipe_trains_on_the_gpu_and_is_evaluated(commands: Commands, tmp_path: Path) -> None:
    store = tmp_path / "store"
    asked = ("--models", "mobilenet", "--weights", "none", "--epochs", "1", "--set", "backbone.image_px=32")
    done = commands.run("flows.train", *asked, "--store", str(store))
    assert done.returncode == 0, done.stderr
    (path,) = LocalStore(store).root.glob(f"models/digits/mobilenet/*/{MANIFEST}")
    made = Manifest.from_json(path.read_bytes())
    assert made.made_by["machine"]["gpus"] >= 1
    assert made.facts["recipe"]["precision"] == "mixed_float16"
