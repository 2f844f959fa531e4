"""A person's images as versions of a dataset: what makes another one, and what stays where."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.data.datasets import dataset_address
from lib.data.ingest import ingest
from lib.data.own import check_name, find_dataset, record
from lib.data.prepare import prepare
from lib.data.rows import read_rows
from lib.errors import PermanentError
from lib.images.collect import collect, images_of, look
from lib.images.own_source import OwnSource
from lib.images.shards import read_unreadable
from lib.lineage.manifests import Manifest, Ref, load, local_file
from lib.lineage.verify import verify
from lib.store import LocalStore

from .own_images import CLASSES, picture, png, source, write_folder

COUNT = 40


@pytest.fixture
def here(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "colours", COUNT)


def collected(own: OwnSource, store: LocalStore, newest: Ref | None = None) -> tuple[Ref, Manifest]:
    ref = collect(own, look(own, Path(store.uri) / "cache"), store, newest, lambda count: None)
    record(store, own, ref)
    return ref, load(store, ref)


def sides(store: LocalStore, images: Manifest) -> dict[str, str]:
    """The split of each image, by the digest of its file."""
    return {row.found.sha256: row.split for row in images_of(store, images)}


def whole(store: LocalStore, own: OwnSource) -> Ref:
    """All steps before training. Returns the ref of what is prepared."""
    collected(own, store)
    spec = find_dataset(own.name, store)
    return prepare(spec, store, ingest(spec, store, None, lambda *_: None), None)


def test_every_image_is_kept_as_it_is_with_its_class(here: LocalStore, folder: Path) -> None:
    _, images = collected(source(folder), here)
    assert images.facts["class_names"] == ["blue", "green", "red"]
    assert sum(images.facts["rows"].values()) == 3 * COUNT
    assert images.facts["unreadable"] == 0
    kept = {row.place: (row.image, images.facts["class_names"][row.label]) for row in images_of(here, images)}
    assert kept == {
        f"{name}/{number}.png": ((folder / name / f"{number}.png").read_bytes(), name)
        for name in CLASSES
        for number in range(COUNT)
    }


def test_classes_are_in_order_numbers_by_their_size(here: LocalStore, tmp_path: Path) -> None:
    names = ["07", "7", "9", "10", "1" * 200, "B", "a"]
    for label in names:
        (tmp_path / "own" / label).mkdir(parents=True)
        for number in range(12):
            (tmp_path / "own" / label / f"{number}.png").write_bytes(
                png(picture((len(label), ord(label[0]), 0), number))
            )
    _, images = collected(source(tmp_path / "own"), here)
    assert images.facts["class_names"] == names


def test_rows_lie_at_random_as_to_class(here: LocalStore, folder: Path) -> None:
    _, images = collected(source(folder), here)
    labels = [row.label for row in images_of(here, images)]
    changes = sum(first != second for first, second in itertools.pairwise(labels))
    assert changes > COUNT, "of 119 places two thirds change on average, and 2 where classes lie in a row"


def test_training_reads_the_very_pixels(here: LocalStore, folder: Path) -> None:
    prepared = load(here, whole(here, source(folder)))
    rows = read_rows(here, prepared, ("train", "validation", "test"))
    found = {
        (name, image.tobytes()): label
        for name, split in rows.items()
        for image, label in zip(split.images, split.labels, strict=True)
    }
    expected = {
        picture(colour, number).tobytes(): list(CLASSES).index(name)
        for name, colour in CLASSES.items()
        for number in range(COUNT)
    }
    assert {pixels: label for (_, pixels), label in found.items()} == expected
    assert len(found) == 3 * COUNT
    assert {name: len(split.images) for name, split in rows.items()} == prepared.facts["rows"]


def test_all_of_it_can_be_verified(here: LocalStore, folder: Path) -> None:
    prepared = whole(here, source(folder))
    told: list[str] = []
    verify(here, prepared.uri, lambda uri, _: told.append(uri.split("/")[0]))
    assert told == ["images", "datasets", "prepared"]


def test_other_pixels_are_another_dataset_of_the_same_images(here: LocalStore, folder: Path) -> None:
    whole(here, source(folder))
    small = find_dataset("colours", here)
    whole(here, source(folder, px=8))
    again = find_dataset("colours", here)
    assert (again.images, again.image_shape) == (small.images, (8, 8, 3))
    assert dataset_address(again) != dataset_address(small)


def test_neither_times_nor_names_nor_the_order_of_listing_make_a_version(
    here: LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = collected(source(folder), here)
    for path in folder.rglob("*.png"):
        os.utime(path, (1, 1))
    (folder / "red" / "0.png").rename(folder / "red" / "zero.png")
    listed = os.scandir

    class Reversed:
        def __init__(self, path: str) -> None:
            with listed(path) as entries:
                self.entries = [*entries][::-1]

        def __enter__(self) -> object:
            return iter(self.entries)

        def __exit__(self, *_: object) -> None:
            pass

        def __iter__(self) -> object:
            return iter(self.entries)

    monkeypatch.setattr(os, "scandir", Reversed)
    again, _ = collected(source(folder), here, first)
    assert again == first


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "red" / "0.png").write_bytes(png(picture((250, 0, 0), 0))),
        lambda folder: (folder / "red" / "new.png").write_bytes(png(picture((255, 0, 0), 999))),
        lambda folder: (folder / "red" / "0.png").unlink(),
        lambda folder: (folder / "red" / "0.png").rename(folder / "blue" / "moved.png"),
    ],
    ids=["changed", "added", "removed", "of another class"],
)
def test_a_changed_file_makes_a_version(here: LocalStore, folder: Path, change: object) -> None:
    first, _ = collected(source(folder), here)
    change(folder)  # type: ignore[operator]
    again, _ = collected(source(folder), here, first)
    assert again.uri != first.uri


@pytest.mark.slow
def test_no_image_changes_sides_while_others_come_and_go(here: LocalStore, tmp_path: Path) -> None:
    folder, newest, before = tmp_path / "growing", None, dict[str, str]()
    own = source(folder, px=8)
    for version in range(5):
        write_folder(folder, 670, first=670 * version)
        for gone in range(20):
            (folder / "green" / f"{670 * version + gone}.png").unlink()
        newest, images = collected(own, here, newest)
        now = sides(here, images)
        assert {sha256: now[sha256] for sha256 in before} == before
        before = now
    assert len(before) == 5 * (3 * 670 - 20)
    shares = {split: list(before.values()).count(split) / len(before) for split in ("train", "validation", "test")}
    assert shares == pytest.approx({"train": 0.8, "validation": 0.1, "test": 0.1}, abs=0.015)


def test_equal_pixels_are_on_one_side_however_they_were_encoded(here: LocalStore, folder: Path) -> None:
    for number in range(COUNT):
        pixels = picture(CLASSES["red"], number)
        Image.fromarray(pixels).save(folder / "red" / f"{number}.bmp")
    _, images = collected(source(folder), here)
    of: dict[str, set[str]] = {}
    for row in images_of(here, images):
        of.setdefault(row.found.pixels, set()).add(row.split)
    assert len(of) == 3 * COUNT
    assert all(len(splits) == 1 for splits in of.values())


def test_a_group_is_on_one_side(here: LocalStore, folder: Path) -> None:
    lines = ["file_name,label,patient"]
    lines += [f"{name}/{number}.png,{name},{name[0]}{number // 4}" for name in CLASSES for number in range(COUNT)]
    (folder / "table.csv").write_text("\n".join(lines))
    _, images = collected(source(folder / "table.csv", group_column="patient"), here)
    of: dict[str | None, set[str]] = {}
    for row in images_of(here, images):
        of.setdefault(row.group, set()).add(row.split)
    assert len(of) == 3 * COUNT // 4
    assert all(len(splits) == 1 for splits in of.values())


def test_given_splits_are_kept_and_what_is_missing_is_taken_from_train(here: LocalStore, tmp_path: Path) -> None:
    root = tmp_path / "split"
    write_folder(root / "train", COUNT)
    write_folder(root / "test", 10, first=5_000)
    _, images = collected(source(root), here)
    rows = images.facts["rows"]
    assert (rows["test"], rows["train"] + rows["validation"]) == (30, 3 * COUNT)
    assert all(row.place.startswith("test/") == (row.split == "test") for row in images_of(here, images))


def test_what_cannot_be_read_is_listed_and_stops_nothing(here: LocalStore, folder: Path) -> None:
    whole_file = (folder / "red" / "0.png").read_bytes()
    (folder / "red" / "cut.png").write_bytes(whole_file[: len(whole_file) // 2])
    (folder / "red" / "text.png").write_text("no image")
    _, images = collected(source(folder), here)
    assert (images.facts["unreadable"], sum(images.facts["rows"].values())) == (2, 3 * COUNT)
    listed = read_unreadable(local_file(here, images, "unreadable"))
    assert [place for place, _ in listed] == ["red/cut.png", "red/text.png"]
    assert all(reason and "\n" not in reason for _, reason in listed)


def bad(folder: Path) -> None:
    for number in range(7):
        (folder / "red" / f"bad{number}.png").write_text("no image")


def one_class(folder: Path) -> None:
    for name in ("blue", "green"):
        for path in (folder / name).iterdir():
            path.unlink()


def few(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        if path.stem != "0":
            path.unlink()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (bad, r"at most 5% of the files may be unreadable \(--max-bad\); received 7 of 127: red/bad0.png: .*; …$"),
        (one_class, "a dataset must have images of at least two classes; .* has only 'red'$"),
        (few, "of 3 images in .* none is in (validation or test|test|validation): .*name all three: "),
    ],
)
def test_what_cannot_be_trained_on_leaves_nothing_behind(
    here: LocalStore, folder: Path, spoil: object, says: str
) -> None:
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(PermanentError, match=says):
        collected(source(folder), here)
    assert here.list("images") == here.list("sources") == []


def test_a_name_of_a_built_in_dataset_is_taken() -> None:
    with pytest.raises(ValueError, match="must be none of the built-in cifar100, digits, fashion-mnist"):
        check_name(source(Path("/x"), name="digits"))


def test_an_unknown_name_says_how_to_add_ones_own(here: LocalStore) -> None:
    for name in ("flowers", "../etc", "ＡＢＣ"):
        with pytest.raises(PermanentError, match="known: cifar100, digits, fashion-mnist; to add your own images"):
            find_dataset(name, here)


def test_grey_images_stay_grey(here: LocalStore, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "grey" / name).mkdir(parents=True)
        for number in range(COUNT):
            pixels = np.full((16, 16), 100 * (name == "b"), np.uint8)
            pixels[0, 0] = number
            Image.fromarray(pixels).save(tmp_path / "grey" / name / f"{number}.png")
    whole(here, source(tmp_path / "grey"))
    assert find_dataset("colours", here).image_shape == (16, 16, 1)


def test_shards_that_decode_to_something_else_are_said_to_be_ones_own(
    here: LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected(source(folder), here)

    def fail(*_: object) -> None:
        raise PermanentError("train must have 96 rows; the shards have fewer")

    monkeypatch.setattr("lib.data.ingest.decode", fail)
    with pytest.raises(
        PermanentError, match="the shards have fewer; its shards were changed after they were written: "
    ):
        ingest(find_dataset("colours", here), here, None, lambda *_: None)
