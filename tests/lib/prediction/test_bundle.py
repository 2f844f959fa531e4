"""What `get` writes: whole, refused where something lies, and used by a script that knows Keras alone."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flows.get import command
from lib.errors import PermanentError
from lib.evaluation.calibration import apply_temperature
from lib.lineage.manifests import Ref, load, local_file
from lib.prediction.bundle import write_bundle
from lib.prediction.choice import model_to_use
from lib.settings import REPOSITORY
from lib.store import LocalStore

(SCRIPT,) = re.findall(
    r"^```python\n(.*?)^```$", (REPOSITORY / "docs/prediction.md").read_text(), re.MULTILINE | re.DOTALL
)
"""Ten lines with Keras and NumPy, and nothing of ours."""


@pytest.mark.slow
def test_keras_alone_predicts_with_what_get_wrote(trained: LocalStore, tmp_path: Path) -> None:
    from lib.models.networks import load_network

    folder, images = tmp_path / "taken" / "model", np.random.default_rng(0).integers(0, 255, (6, 6, 6, 1), np.uint8)
    np.save(tmp_path / "images.npy", images)
    command(["--dataset", "toy", "--to", str(folder), "--store", str(trained.root)])
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "class_names.json",
        "model.keras",
        "temperature.json",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.modules.update(lib=None, flows=None, tasks=None)\n{SCRIPT}",
         str(folder), str(tmp_path / "images.npy")],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    evaluated = load(trained, model_to_use(trained, "toy", None))
    raw = load_network(trained, load(trained, evaluated.inputs["model"])).predict(images, verbose=0)
    expected = apply_temperature(raw, evaluated.facts["temperature"])
    said = json.loads(done.stdout)
    assert [name for name, _ in said] == [("dim", "bright")[row.argmax()] for row in expected]
    assert [confidence for _, confidence in said] == pytest.approx(expected.max(axis=1).tolist(), abs=1e-4)


def test_a_folder_is_made_whole_or_not_at_all(trained: LocalStore, evaluation: Ref, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for given in ("full", "full/mine.txt"):
        with pytest.raises(PermanentError, match="--to must be a folder that is empty, or not there yet; received"):
            command(["--dataset", "toy", "--to", str(tmp_path / given), "--store", str(trained.root)])
    (tmp_path / "empty").mkdir()
    assert write_bundle(trained, evaluation, tmp_path / "empty", "keras")[2] == "model.keras"
    assert json.loads((tmp_path / "empty" / "class_names.json").read_text()) == ["dim", "bright"]
    model = load(trained, load(trained, evaluation).inputs["model"])
    local_file(trained, model, "model").unlink()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(PermanentError, match="run again, which makes it anew"):
        write_bundle(trained, evaluation, tmp_path / "other", "keras")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.slow
def test_a_model_for_tensorflow_lite_chooses_the_same_class_or_is_refused(
    trained: LocalStore, evaluation: Ref, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lib.prediction import tflite

    files = write_bundle(trained, evaluation, tmp_path / "lite", "tflite")
    assert files == ["README.md", "class_names.json", "model.tflite", "temperature.json"]
    predicted = tflite._predicted
    monkeypatch.setattr(tflite, "_predicted", lambda *given: predicted(*given)[:, ::-1])
    with pytest.raises(PermanentError, match=r"on 10 images of validation; .* another one for 10, and probabilities"):
        write_bundle(trained, evaluation, tmp_path / "refused", "tflite")
    assert not (tmp_path / "refused").exists()
