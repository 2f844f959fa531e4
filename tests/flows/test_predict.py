"""Images are predicted from the command line: what is printed, exported and refused, and what a kill leaves."""

import os
import random
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from flows.predict import command
from lib.errors import PermanentError
from lib.lineage.manifests import Manifest, find
from lib.store import LocalStore
from tests.faults.scene import wait_for
from tests.pinned_stores import PRESENT

from .conftest import Commands

pytestmark = pytest.mark.usefixtures("clean_environment")
KILLS = 3


def made(store: Path) -> Manifest:
    (path,) = store.glob("predictions/toy/*/manifest.json")
    found = find(LocalStore(store), path.parent.relative_to(store).as_posix())
    assert found
    return found[1]


def write_pictures(folder: Path, count: int, px: int = 8) -> None:
    folder.mkdir()
    noise = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number:05d}.jpg"
        Image.fromarray(noise.integers(0, 255, (px, px, 3), np.uint8)).save(path)
        if number % 100 == 7:
            path.write_bytes(path.read_bytes()[:100])


@pytest.mark.slow
def test_a_folder_is_predicted_told_of_and_exported_and_found_again(commands: Commands, tmp_path: Path) -> None:
    store, pictures = tmp_path / "store", tmp_path / "pictures"
    shutil.copytree(PRESENT, store)
    write_pictures(pictures, 300)
    given = ("flows.predict", "--dataset", "toy", "--input", str(pictures), "--store", str(store), "--top", "2")
    done = commands.run(*given, "--output", str(tmp_path / "all.csv"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{pictures}: 300 files"
    assert lines[1].startswith(f"297 images of {pictures} predicted by toy-softmax (models/toy/toy-softmax/")
    assert lines[1].endswith("; 3 cannot be read.")
    assert lines[2] == "These 297 images are not like those of validation."
    assert made(store).facts["drift"]["verdict"] == "drift"
    rows = pc.read_csv(tmp_path / "all.csv")
    assert (rows.num_rows, rows["status"].to_pylist().count("unreadable")) == (300, 3)
    again = commands.run(*given, "--output", str(tmp_path / "all.parquet"), PREFECT_API_URL="http://127.0.0.1:9/api")
    assert again.returncode == 0, again.stderr
    assert pq.read_table(tmp_path / "all.parquet")["path"].to_pylist() == rows["path"].to_pylist()
    strict = commands.run(*given, "--max-bad", "0.001", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert strict.returncode == 2
    assert "at most 0% of the images may be unreadable (--max-bad); received 3 of 300: 00007.jpg: " in strict.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--input", "nowhere"), "--input must be a folder, a file of the kinds"),
        (("--input", ".", "--output", "all.xlsx"), "--output must be a file, or s3://bucket/key, whose name ends in"),
        (("--input", ".", "--model", "reports/toy/543c2f7337fd85b4"), "--model must name a model or its evaluation"),
        (("--input", ".", "--dataset", "digits"), "digits must have a trained model;"),
        (("--input", ".", "--top", "0"), "top: Input should be greater than or equal to 1; received 0"),
    ],
)
def test_what_cannot_be_is_refused_before_a_server_is_asked(options: tuple[str, ...], said: str) -> None:
    with pytest.raises(PermanentError, match=re.escape(said)):
        command(["--dataset", "toy", "--store", str(PRESENT), *options])


@pytest.mark.slow
def test_killed_three_times_at_random_moments_the_output_is_equal(commands: Commands, tmp_path: Path) -> None:
    pictures, drawn = tmp_path / "pictures", random.Random("predict")
    write_pictures(pictures, 6_500)
    stores = {name: tmp_path / name for name in ("undisturbed", "killed")}
    for store in stores.values():
        shutil.copytree(PRESENT, store)
    given = ("flows.predict", "--dataset", "toy", "--input", str(pictures), "--store")
    done = commands.run(*given, str(stores["undisturbed"]))
    assert done.returncode == 0, done.stderr
    for number in range(KILLS):
        process = commands.start(*given, str(stores["killed"]))
        wait_for(lambda n=number: len(parts(stores["killed"])) >= n + 1, "a part")
        time.sleep(drawn.uniform(0, 0.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not list(stores["killed"].glob("predictions/toy/*/manifest.json")), "it was done before it was killed"
    done = commands.run(*given, str(stores["killed"]))
    assert done.returncode == 0, done.stderr
    expected, received = (made(store) for store in stores.values())
    assert received.ref("x") == expected.ref("x")
    assert received.files == expected.files
    assert received.facts["images"] == 6_500


def parts(store: Path) -> list[Path]:
    return list(store.glob("predictions/toy/*/part-*"))
