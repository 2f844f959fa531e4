"""The step `prediction` on a small trained model: all rows are there, parts are found again, verify holds."""

import io
import uuid
from pathlib import Path

import keras
import numpy as np
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lib.data.datasets import DATASETS
from lib.errors import PermanentError
from lib.evaluation.calibration import apply_temperature
from lib.images.decoding import decode
from lib.lineage.manifests import Manifest, Ref, find, load, local_file
from lib.lineage.verify import verify
from lib.prediction.batch import predict
from lib.prediction.choice import model_to_use
from lib.prediction.export import export
from lib.prediction.inputs import InputSource
from lib.prediction.predictions import Asked
from lib.settings import read_settings
from lib.store import LocalStore, open_store
from lib.store.contract import Store
from tests.s3_server import S3Server
from tests.toy import SPEC


def ask(store: Store, evaluation: Ref, uri: Path | str, top: int = 2) -> Asked:
    return Asked.of(store, evaluation, InputSource(uri=str(uri)), top, read_settings())


def predicted(store: Store, asked: Asked, part_rows: int = 4) -> Manifest:
    return load(store, predict(store, asked, lambda event: None, part_rows))


def rows(store: Store, prediction: Manifest) -> list[dict[str, object]]:
    files = [local_file(store, prediction, name) for name in sorted(prediction.files)]
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def test_each_file_is_a_row_with_what_the_model_says_or_why_not_and_verify_holds(
    trained: LocalStore, evaluation: Ref, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, SPEC.name, SPEC)
    asked = ask(trained, evaluation, folder)
    made = predicted(trained, asked)
    assert sorted(made.files) == ["part-00000", "part-00001", "part-00002"]
    found = rows(trained, made)
    assert [row["path"] for row in found] == sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))
    by_path = {row["path"]: row for row in found}
    bad = {path: row["reason"] for path, row in by_path.items() if row["status"] == "unreadable"}
    assert bad.keys() == {"05.png", "06.png"}
    assert bad["05.png"] == "it is empty"
    assert (
        by_path["01.png"]["predicted"] == by_path["02.tif"]["predicted"] == by_path["03.gif"]["predicted"] == "bright"
    )
    assert [by_path["04.jpg"][name] for name in ("width", "height", "mode")] == [40, 40, "RGB"]
    assert (made.facts["images"], made.facts["unreadable"]) == (10, 2)
    assert made.facts["drift"]["verdict"] == "too few to tell"
    model = load(trained, made.inputs["model"])
    network = keras.saving.load_model(local_file(trained, model, "model"))
    pixels = decode((folder / "04.jpg").read_bytes(), 6, 1).pixels
    temperature = asked.predictor.temperature
    expected = apply_temperature(network.predict(pixels[np.newaxis], verbose=0), temperature)[0]
    row = by_path["04.jpg"]
    names = ["dim", "bright"]
    assert [row["probability_1"], row["probability_2"]] == pytest.approx(sorted(expected, reverse=True), abs=1e-5)
    assert row["class_1"] == row["predicted"] == names[expected.argmax()]
    assert row["confidence"] == row["probability_1"]
    check_verified(trained, asked, made)


def check_verified(store: Store, asked: Asked, made: Manifest) -> None:
    notes, kinds = list[str](), list[str]()
    verify(store, asked.address, lambda _, each: kinds.append(each.kind), None, notes.append)
    assert kinds[-2:] == ["evaluation", "prediction"]
    assert notes == [f"{asked.address}: its images lie outside the store, so they were not predicted again"]
    forged = made.model_copy(update={"facts": {**made.facts, "unreadable": 0}})
    store.write(f"{asked.address}/manifest.json", forged.to_json())
    with pytest.raises(PermanentError, match=r"facts.unreadable must be 2, .* received 0"):
        verify(store, asked.address)


@pytest.mark.slow
@pytest.mark.parametrize("kept", [0, 1, 2, 4])
def test_cut_after_any_part_it_goes_on_with_the_next_and_the_result_is_equal(
    trained: LocalStore, evaluation: Ref, folder: Path, kept: int
) -> None:
    asked, told = ask(trained, evaluation, folder), list[int]()
    whole = predict(trained, asked, lambda event: None, 3)
    before = {path: trained.read(path) for path in trained.list(asked.address)}
    parts = sorted(path for path in before if "part-" in path)
    for path in [*parts[kept:], f"{asked.address}/manifest.json"]:
        trained.delete(path)
    if kept == 2:  # none can be there that was not written whole, but one that was changed can
        trained.write(parts[1], b"other")
    assert predict(trained, asked, lambda event: told.append(event["rows"]), 3) == whole
    assert told == {0: [3, 6, 9, 10], 1: [6, 9, 10], 2: [6, 9, 10], 4: []}[kept]
    assert {path: trained.read(path) for path in parts} == {path: before[path] for path in parts}


@pytest.mark.slow
def test_images_of_a_bucket_are_predicted_into_a_store_in_a_bucket(
    trained: LocalStore, folder: Path, s3_environment: S3Server, tmp_path: Path
) -> None:
    bucket, prefix = f"s3://{s3_environment.bucket}", uuid.uuid4().hex
    store, arriving = (open_store(f"{bucket}/{prefix}/{name}", tmp_path / "cache") for name in ("store", "arriving"))
    for to, root in ((store, trained.root), (arriving, folder)):
        for file in (file for file in root.rglob("*") if file.is_file()):
            to.write(file.relative_to(root).as_posix(), file)
    evaluation = model_to_use(store, "toy", None)
    asked = ask(store, evaluation, arriving.uri)
    made, local = predicted(store, asked), predicted(trained, ask(trained, evaluation, folder))
    assert rows(store, made) == rows(trained, local)
    export(store, made, f"{arriving.uri}/all.csv", read_settings())
    assert pc.read_csv(io.BytesIO(arriving.read("all.csv")))["path"].to_pylist() == [
        row["path"] for row in rows(store, made)
    ]
    arriving.write("00.png", folder / "01.png")
    assert ask(store, evaluation, arriving.uri).address != asked.address


def test_other_images_or_another_top_are_another_prediction(trained: LocalStore, evaluation: Ref, folder: Path) -> None:
    asked = ask(trained, evaluation, folder)
    assert ask(trained, evaluation, folder).address == asked.address
    assert ask(trained, evaluation, folder, top=1).address != asked.address
    assert ask(trained, evaluation, folder, top=99).address == asked.address, "there are two classes"
    (folder / "more.png").write_bytes((folder / "00.png").read_bytes())
    assert ask(trained, evaluation, folder).address != asked.address
    assert find(trained, asked.address) is None


def test_no_image_at_all_is_refused_by_the_name_of_the_option(
    trained: LocalStore, evaluation: Ref, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PermanentError, match="--input must name a place with files"):
        ask(trained, evaluation, tmp_path / "empty")
    Image.new("L", (2, 2)).save(tmp_path / "empty" / "a.png")
    with pytest.raises(PermanentError, match="--input must be a folder, a file of the kinds"):
        ask(trained, evaluation, tmp_path / "empty" / "a.png")
