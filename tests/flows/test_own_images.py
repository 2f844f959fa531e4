"""A person's own images, by the commands: what they say of bad ones, and that odd ones are no bad ones."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flows.ingest import command as ingest
from flows.ingest import ingest as ingest_flow
from flows.train import command as train
from lib.data.own import find_dataset
from lib.errors import PermanentError
from lib.images.own_source import OwnSource
from lib.lineage.manifests import load
from lib.store import LocalStore
from tests.lib.data.own_images import picture, png, source, write_folder

from .conftest import Commands

pytestmark = pytest.mark.usefixtures("clean_environment")


def colours(folder: Path) -> None:
    write_folder(folder, 12)


def nothing(folder: Path) -> None:
    folder.mkdir()


def files_alone(folder: Path) -> None:
    nothing(folder)
    (folder / "1.png").write_bytes(png(picture((1, 2, 3), 0)))


def one_class(folder: Path) -> None:
    (folder / "cat").mkdir(parents=True)
    for number in range(12):
        (folder / "cat" / f"{number}.png").write_bytes(png(picture((1, 2, 3), number)))


def a_list_too(folder: Path) -> None:
    colours(folder)
    (folder / "metadata.csv").write_text("file_name,label\nred/0.png,blue\n")


def many_bad(folder: Path) -> None:
    colours(folder)
    for number in range(3):
        (folder / "red" / f"bad{number}.png").write_bytes(b"no image")


def two_lists(folder: Path) -> None:
    colours(folder)
    (folder / "list.csv").write_text("path,label,class\nred/0.png,a,b\n")


HERE = "{here}"
BAD: dict[str, tuple[Callable[[Path], None], list[str], str]] = {
    "no such folder": (lambda folder: None, ["--from", HERE, "--name", "x"], "--from"),
    "an empty folder": (nothing, ["--from", HERE, "--name", "x"], "--from"),
    "no such home": (nothing, ["--from", "~no-such-user/x", "--name", "x"], "and there is no such home folder"),
    "a path after file:": (nothing, ["--from", "file:x", "--name", "x"], "--from must be a folder, a file of"),
    "no classes": (files_alone, ["--from", HERE, "--name", "x"], "--from"),
    "two layouts": (a_list_too, ["--from", HERE, "--name", "x"], "metadata.csv"),
    "two columns that may be labels": (two_lists, ["--from", f"{HERE}/list.csv", "--name", "x"], "--label-column"),
    "a column that is not there": (
        two_lists,
        ["--from", f"{HERE}/list.csv", "--name", "x", "--label-column", "kind"],
        "kind",
    ),
    "an archive": (lambda folder: folder.write_bytes(b"PK"), ["--from", HERE, "--name", "x"], "--from"),
    "a place of no letters": (colours, ["--from", "", "--name", "x"], "--from must not be empty; "),
    "no name": (colours, ["--from", HERE], "--name NAME names the dataset: give both, or neither; received --from"),
    "no source": (colours, ["--name", "x"], "--from PLACE says where your images lie: give both, or neither; received"),
    "another dataset": (
        colours,
        ["--from", HERE, "--name", "x", "--dataset", "cifar100"],
        "--name says which dataset the images of --from are; received x and --dataset cifar100; leave --dataset out",
    ),
    "a built-in name": (colours, ["--from", HERE, "--name", "digits"], "name must be none of the built-in cifar100, "),
    "a name with a slash": (colours, ["--from", HERE, "--name", "../x"], "your own dataset is not valid: name: "),
    "no pixels": (colours, ["--from", HERE, "--name", "x", "--px", "0"], "your own dataset is not valid: px: "),
    "pixels in words": (colours, ["--from", HERE, "--name", "x", "--px", "big"], "your own dataset is not valid: px: "),
    "a share of 5": (colours, ["--from", HERE, "--name", "x", "--max-bad", "5"], "your own dataset is not valid: max_"),
    "a dataset that is not there": (
        colours,
        ["--dataset", "x"],
        "unknown dataset 'x'; known: cifar100, digits",
    ),
}


@pytest.mark.parametrize("command", [ingest, train])
@pytest.mark.parametrize("name", BAD)
def test_bad_options_end_with_a_clear_line_before_anything_is_made(
    name: str, command: Callable[[list[str]], None], tmp_path: Path
) -> None:
    make, arguments, says = BAD[name]
    make(tmp_path / "own")
    given = [each.replace(HERE, str(tmp_path / "own")) for each in arguments]
    with pytest.raises(PermanentError) as caught:
        command([*given, "--store", str(tmp_path / "store")])
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("command", [ingest, train])
def test_a_store_in_the_folder_of_images_is_refused_before_anything_is_made(
    command: Callable[[list[str]], None], tmp_path: Path
) -> None:
    colours(tmp_path / "own")
    with pytest.raises(PermanentError, match=r"^--from must not hold the store, nor lie in"):
        command(["--from", str(tmp_path / "own"), "--name", "x", "--store", str(tmp_path / "own" / "results")])
    assert not (tmp_path / "own" / "results").exists()


def test_a_flow_refuses_a_store_in_the_folder_of_images_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colours(tmp_path / "own")
    monkeypatch.setenv("STORE_URI", str(tmp_path / "own" / "results"))
    with pytest.raises(PermanentError, match=r"^--from must not hold the store, nor lie in"):
        ingest_flow("colours", source=source(tmp_path / "own"))
    assert not (tmp_path / "own" / "results").exists()


def test_the_plan_of_a_new_dataset_says_to_ingest_it_first(tmp_path: Path) -> None:
    colours(tmp_path / "own")
    with pytest.raises(
        PermanentError, match=rf"ingest it first: python -m flows.ingest --from {tmp_path}/own --name x$"
    ):
        train(["--plan", "--from", str(tmp_path / "own"), "--name", "x", "--store", str(tmp_path / "store")])
    assert not (tmp_path / "store").exists()


UNUSABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "one class": (one_class, "a dataset must have images of at least two classes; "),
    "too many that cannot be read": (
        many_bad,
        "at most 5% of the files may be unreadable (--max-bad); received 3 of 39",
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_shows_itself_as_images_are_read_leaves_no_dataset(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, says = UNUSABLE[name]
    make(tmp_path / "own")
    monkeypatch.setenv("STORE_URI", str(tmp_path / "store"))
    with pytest.raises(PermanentError) as caught:
        ingest_flow("colours", source=source(tmp_path / "own"))
    assert str(caught.value).startswith(says)
    assert not (tmp_path / "store").exists()


def odd_names(folder: Path) -> None:
    for label in ("with space", "new\nline", "😀 emoji", "a;b,c\"d'"):
        (folder / label).mkdir(parents=True)
        for number in range(15):
            pixels = picture((len(label), 0, 0), number)
            (folder / label / f"{number} é\n😀.png").write_bytes(png(pixels))
    strange = os.fsencode(folder) + b"/with space/\xff\xfe.png"
    Path(os.fsdecode(strange)).write_bytes(png(picture((9, 9, 9), 5)))


def many_classes(folder: Path) -> None:
    for label in range(2_000):
        (folder / f"class {label}").mkdir(parents=True)
        (folder / f"class {label}" / "a.png").write_bytes(png(picture((label % 256, label // 256, 1), label, px=4)))


def one_pixel(folder: Path) -> None:
    for label, value in (("dark", 0), ("light", 128)):
        (folder / label).mkdir(parents=True)
        for number in range(40):
            (folder / label / f"{number}.png").write_bytes(png(np.full((1, 1, 3), (value + number, 0, 0), np.uint8)))


def vast(folder: Path) -> None:
    colours(folder)
    (folder / "red" / "vast.png").write_bytes(png(np.zeros((5_000, 8_000, 3), np.uint8)))


@pytest.mark.parametrize(
    ("make", "classes", "images"),
    [
        pytest.param(odd_names, 4, 61, id="names"),
        pytest.param(many_classes, 2_000, 2_000, id="2,000 classes", marks=pytest.mark.slow),
        pytest.param(one_pixel, 2, 80, id="one pixel"),
        pytest.param(vast, 3, 37, id="40 megapixels", marks=pytest.mark.slow),
    ],
)
def test_odd_images_are_a_dataset_like_others(
    make: Callable[[Path], None], classes: int, images: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "own")
    store = LocalStore(tmp_path / "store")
    monkeypatch.setenv("STORE_URI", store.uri)
    prepared = load(store, ingest_flow("colours", source=OwnSource.model_validate(dict(source(tmp_path / "own")))))
    spec = find_dataset("colours", store)
    assert (len(spec.class_names), sum(spec.rows.values())) == (classes, images)
    assert load(store, prepared.inputs["dataset"]).facts["class_names"] == list(spec.class_names)


@pytest.mark.slow
def test_one_command_trains_on_them_and_a_second_one_with_new_images_trains_again(
    commands: Commands, tmp_path: Path
) -> None:
    folder, places = write_folder(tmp_path / "own", 40), {"STORE_URI": str(tmp_path / "store")}
    quick = ("--models", "digits-softmax", "--epochs", "2")
    first = commands.run("flows.train", "--from", str(folder), "--name", "colours", "--px", "16", *quick, **places)
    assert first.returncode == 0, first.stderr
    assert "colours: class folders: 3 classes, 120 files" in first.stdout
    assert "Leaderboard of colours" in first.stdout
    again = commands.run("flows.train", "--dataset", "colours", *quick, **places)
    assert "All done before: nothing to train." in again.stdout
    write_folder(folder, 5, first=100)
    newer = commands.run("flows.ingest", "--dataset", "colours", **places)
    assert "135 images of 3 classes" in newer.stderr
    trained = commands.run("flows.train", "--dataset", "colours", *quick, **places)
    assert "All done before" not in trained.stdout
    report = trained.stdout.splitlines()[-1].removeprefix(f"Report: file://{tmp_path}/store/").rpartition("/")[0]
    verified = commands.run("flows", "verify", report, **places)
    assert verified.returncode == 0, verified.stderr
    assert [line.split("/")[0] for line in verified.stdout.splitlines() if line.startswith("holds: ")] == [
        f"holds: {kind}"
        for kind in ("images", "datasets", "prepared", "models", "evaluations", "duplicates", "reports")
    ]
