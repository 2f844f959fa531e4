"""Layouts of images as people have them, and what is no layout or two of them. A new case is a line."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from lib.errors import NotFound, PermanentError
from lib.images.layouts import Columns, Layout, find_layout
from lib.images.source_images import TO_BE_FOUND
from lib.images.sources import open_source

from .test_sources import put

Rows = list[tuple[str, str, str | None]]
"""Place, label and split of each image."""


def lay(folder: Path, files: str, texts: Mapping[str, str | bytes] = {}) -> Path:
    """A folder with `files`, which hold their own paths, and `texts`."""
    put(folder, *files.split())
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def layout_of(place: Path, columns: Columns = TO_BE_FOUND) -> Layout:
    return find_layout(open_source(str(place), place.parent / "cache"), columns)


def rows_of(layout: Layout) -> Rows:
    return [(each.place, each.label, each.split) for each in layout.images()]


def refusal(place: Path, columns: Columns = TO_BE_FOUND) -> str:
    with pytest.raises(PermanentError) as caught:
        layout_of(place, columns)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 700
    return said


CLASSES: dict[str, tuple[str, str, Rows]] = {
    "two classes": (
        "cat/2.jpg dog/1.png cat/10.jpg",
        "class folders: 2 classes, 3 files",
        [("cat/10.jpg", "cat", None), ("cat/2.jpg", "cat", None), ("dog/1.png", "dog", None)],
    ),
    "one class": ("cat/1.jpg", "class folders: 1 class, 1 file", [("cat/1.jpg", "cat", None)]),
    "names without a suffix": (
        "a/1 b/2",
        "class folders: 2 classes, 2 files",
        [("a/1", "a", None), ("b/2", "b", None)],
    ),
    "files beside the folders": (
        "README.txt LICENSE a/1.jpg b/2.jpg 3.jpg",
        "class folders: 2 classes, 2 files; 3 files in no class folder, left out",
        [("a/1.jpg", "a", None), ("b/2.jpg", "b", None)],
    ),
    "folders below a class": (
        "a/x/y/1.jpg a/2.jpg b/z/3.jpg",
        "class folders: 2 classes, 3 files; 2 files in folders below a class folder, taken for that class",
        [("a/2.jpg", "a", None), ("a/x/y/1.jpg", "a", None), ("b/z/3.jpg", "b", None)],
    ),
    "no image in a class": (
        "a/1.jpg a/notes.txt",
        "class folders: 1 class, 2 files",
        [("a/1.jpg", "a", None), ("a/notes.txt", "a", None)],
    ),
    "splits": (
        "train/a/1.jpg train/b/2.jpg test/a/3.jpg",
        "class folders: 2 classes, 3 files; train 2, test 1",
        [("test/a/3.jpg", "a", "test"), ("train/a/1.jpg", "a", "train"), ("train/b/2.jpg", "b", "train")],
    ),
    "splits by other words": (
        "Training/a/1 VAL/a/2 Eval/b/3",
        "class folders: 2 classes, 3 files; train 1, validation 1, test 1",
        [("Eval/b/3", "b", "test"), ("Training/a/1", "a", "train"), ("VAL/a/2", "a", "validation")],
    ),
    "two words for a split": (
        "train/a/1 val/a/2 dev/a/3",
        "class folders: 1 class, 3 files; train 1, validation 2",
        [("dev/a/3", "a", "validation"), ("train/a/1", "a", "train"), ("val/a/2", "a", "validation")],
    ),
    "a single split": (
        "train/a/1.jpg train/b/2.jpg",
        "class folders: 2 classes, 2 files; all in train, so they are not divided yet",
        [("train/a/1.jpg", "a", None), ("train/b/2.jpg", "b", None)],
    ),
    "a split without classes": (
        "train/a/1.jpg train/b/2.jpg test/3.jpg test/4.jpg",
        "class folders: 2 classes, 2 files; all in train, so they are not divided yet; "
        "2 files in no class folder, left out",
        [("train/a/1.jpg", "a", None), ("train/b/2.jpg", "b", None)],
    ),
    "a class called as a split": (
        "test/1.jpg cat/2.jpg",
        "class folders: 2 classes, 2 files; the folder test is taken for a class, as it lies beside others",
        [("cat/2.jpg", "cat", None), ("test/1.jpg", "test", None)],
    ),
    "words that only begin as a split": (
        "trains/1.jpg tests/2.jpg",
        "class folders: 2 classes, 2 files",
        [("tests/2.jpg", "tests", None), ("trains/1.jpg", "trains", None)],
    ),
    "a list within a class": (
        "a/labels.csv a/1.jpg b/2.jpg",
        "class folders: 2 classes, 3 files",
        [("a/1.jpg", "a", None), ("a/labels.csv", "a", None), ("b/2.jpg", "b", None)],
    ),
    "a class as a Mac writes it and as others do": (
        "train/caf\u00e9/1 train/tea/2 test/cafe\u0301/3",
        "class folders: 2 classes, 3 files; train 2, test 1",
        [
            ("test/cafe\u0301/3", "caf\u00e9", "test"),
            ("train/caf\u00e9/1", "caf\u00e9", "train"),
            ("train/tea/2", "tea", "train"),
        ],
    ),
    "classes that differ in capital letters": (
        "Rose/1.jpg rose/2.jpg tea/3.jpg",
        "class folders: 3 classes, 3 files; the classes Rose and rose differ in capital letters alone",
        [("Rose/1.jpg", "Rose", None), ("rose/2.jpg", "rose", None), ("tea/3.jpg", "tea", None)],
    ),
    "odd names": (
        "\U0001f33b/é.jpg caf\udce9/1.jpg",
        "class folders: 2 classes, 2 files",
        [(r"caf\udce9/1.jpg", r"caf\udce9", None), ("\U0001f33b/é.jpg", "\U0001f33b", None)],
    ),
}


@pytest.mark.parametrize("text", ["class,count\ncat,2\n", "", "path\n", b"\xff\xfex", "a,b\n1,2\n"])
def test_a_table_of_something_else_beside_class_folders_is_no_list(tmp_path: Path, text: str | bytes) -> None:
    layout = layout_of(lay(tmp_path / "own", "cat/1.jpg dog/2.jpg", {"counts.csv": text}))
    assert layout.description == "class folders: 2 classes, 2 files; 1 file in no class folder, left out"


@pytest.mark.parametrize("name", CLASSES)
def test_class_folders_are_found_and_described(tmp_path: Path, name: str) -> None:
    files, description, rows = CLASSES[name]
    layout = layout_of(lay(tmp_path / "own", files))
    assert (layout.description, rows_of(layout)) == (description, rows)
    assert layout.splits_given == any(split for _, _, split in rows)
    assert layout.refused == []


def test_spaces_around_the_name_of_a_class_make_no_other_one(tmp_path: Path) -> None:
    put(tmp_path / "own", "rose/1.jpg", "rose /2.jpg", " /3.jpg")
    assert [label for _, label, _ in rows_of(layout_of(tmp_path / "own"))] == [" ", "rose", "rose"]


def test_thousands_of_classes_and_splits_of_each_are_found(tmp_path: Path) -> None:
    layout = layout_of(
        lay(tmp_path / "own", " ".join(f"{s}/{n:04}/1.jpg" for s in ("train", "test") for n in range(2_000)))
    )
    assert layout.description == "class folders: 2,000 classes, 4,000 files; train 2,000, test 2,000"
    assert len({each.label for each in layout.images()}) == 2_000


def test_an_image_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    layout = layout_of(lay(tmp_path / "own", "a/1.jpg b/2.jpg"))
    first, second = layout.images()
    (tmp_path / "own/b/2.jpg").unlink()
    assert first.read() == b"a/1.jpg"
    assert (first.group, first.pixels) == (None, None)
    with pytest.raises(NotFound, match=r"^nothing lies at b/2\.jpg in "):
        second.read()


def test_what_a_source_refuses_is_refused_by_its_layout(tmp_path: Path) -> None:
    lay(tmp_path / "own", "a/1.jpg b/2.jpg")
    (tmp_path / "own/a/3.jpg").symlink_to("/etc/passwd")
    layout = layout_of(tmp_path / "own")
    reason = "a link that leads out of the folder; copy what it leads to"
    for _ in range(2):
        assert len(list(layout.images())) == 2
        assert layout.refused == [("a/3.jpg", reason)]


LIST = "file_name,label\n1.jpg,a\n"
NONE = (
    "--from must name images that are laid out as: a folder for each class (cat/1.jpg), perhaps in folders train, "
    "validation and test; a metadata.csv or .jsonl with file_name and label; a .csv, .tsv or .jsonl file of paths and "
    "labels; Parquet files with image and label; received {} with "
)
SEVERAL: dict[str, tuple[str, dict[str, str | bytes], str]] = {
    "class folders and metadata": (
        "cat/1.jpg dog/2.jpg", {"metadata.csv": LIST},
        "images must have one layout; {0} has metadata (metadata.csv) and class folders (cat, dog); name the one that "
        "is meant, such as --from {0}/metadata.csv, or move the other one away",
    ),
    "class folders in splits and metadata": (
        "train/cat/1.jpg train/dog/2.jpg", {"train/metadata.csv": LIST},
        "images must have one layout; {0} has metadata (train/metadata.csv) and class folders (cat, dog); name the one "
        "that is meant, such as --from {0}/train/metadata.csv, or move the other one away",
    ),
    "class folders and a list": (
        "cat/1.jpg dog/2.jpg", {"labels.csv": LIST},
        "images must have one layout; {0} has a list (labels.csv) and class folders (cat, dog); name the one that is "
        "meant, such as --from {0}/labels.csv, or move the other one away",
    ),
    "class folders and Parquet": (
        "cat/1.jpg data/train.parquet", {},
        "images must have one layout; {0} has Parquet files (data/train.parquet) and class folders (cat); name the one "
        "that is meant, such as --from {0}/data, or move the other one away",
    ),
    "Parquet and a list": (
        "a.parquet", {"labels.csv": LIST},
        "images must have one layout; {0} has Parquet files (a.parquet) and a list (labels.csv); name the one that is "
        "meant, such as --from {0}/a.parquet, or move the other one away",
    ),
    "metadata and a list": (
        "1.jpg", {"labels.csv": LIST, "metadata.csv": LIST},
        "images must have one layout; {0} has metadata (metadata.csv) and a list (labels.csv); name the one that is "
        "meant, such as --from {0}/metadata.csv, or move the other one away",
    ),
    "metadata in class folders": (
        "x/1.jpg y/1.jpg", {"x/metadata.csv": LIST, "y/metadata.csv": LIST},
        "images must have one layout; {0} has metadata (x/metadata.csv, y/metadata.csv) and class folders (x, y); name "
        "the one that is meant, such as --from {0}/x/metadata.csv, or move the other one away",
    ),
    "two kinds of metadata": (
        "1.jpg", {"metadata.jsonl": '{"file_name": "1.jpg", "label": "a"}', "metadata.csv": LIST},
        "of several lists each must have train, validation or test in its name; {0} has metadata.csv, metadata.jsonl; "
        "name one of them by --from, or move the others away",
    ),
    "lists without splits": (
        "1.jpg", {"train.csv": LIST, "submission.csv": LIST},
        "of several lists each must have train, validation or test in its name; {0} has submission.csv, train.csv; "
        "name one of them by --from, or move the others away",
    ),
    "splits and another folder": (
        "train/a/1.jpg test/a/2.jpg docs/x.txt", {},
        "the folders in {0} must all be splits or all be classes; received docs, test, train; move docs away",
    ),
    "splits without train": (
        "val/a/1.jpg test/a/2.jpg", {}, "{0} must have a split train; received validation and test; name one so",
    ),
    "a folder around the classes": (
        "photos/a/1.jpg photos/b/2.jpg README.md", {},
        "--from must name the folder in which the class folders lie; received {0}, with the one folder photos, in "
        "which 2 lie; name that one",
    ),
    "images in no folder": ("1.jpg 2.jpg", {}, NONE + "2 files, such as 1.jpg, and no folder of a class"),
    "images in splits alone": (
        "train/1.jpg test/2.jpg", {}, NONE + "2 files, such as test/2.jpg, and no folder of a class",
    ),
    "no images": ("LICENSE", {}, NONE + "1 file, such as LICENSE, and no folder of a class"),
}  # fmt: skip


@pytest.mark.parametrize("name", SEVERAL)
def test_what_has_no_layout_or_two_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    files, texts, says = SEVERAL[name]
    assert refusal(lay(tmp_path / "own", files, texts)) == says.format(tmp_path / "own")


def test_a_column_of_class_folders_is_refused(tmp_path: Path) -> None:
    said = refusal(lay(tmp_path / "own", "a/1.jpg b/2.jpg"), Columns(group="patient"))
    assert said == f"--group-column names a column; {tmp_path / 'own'} has class folders and no columns; leave it out"


def test_of_two_layouts_the_list_can_be_named(tmp_path: Path) -> None:
    own = lay(tmp_path / "own", "cat/1.jpg dog/2.jpg", {"metadata.csv": "file_name,label\ncat/1.jpg,pet\n"})
    assert rows_of(layout_of(own / "metadata.csv")) == [("cat/1.jpg", "pet", None)]
