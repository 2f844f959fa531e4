"""Images without labels: of folders, of Parquet files, of lists; what is refused stands in its place."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.errors import PermanentError
from lib.images.source_files import Refused
from lib.images.sources import open_source
from lib.images.unlabelled import Unlabelled, find_unlabelled
from tests.lib.images.encoded_images import grey_png


def found(place: Path, column: str | None = None) -> Unlabelled:
    return find_unlabelled(open_source(str(place), place.parent / "cache"), column)


def listed(images: Unlabelled) -> list[tuple[str, object]]:
    return [(each.place, each.reason if isinstance(each, Refused) else each.read()) for each in images.items()]


def test_every_file_of_a_folder_is_one_whatever_it_is_called(tmp_path: Path) -> None:
    root = tmp_path / "images"
    for name in ("b.png", "a/x.jpg", "notes.txt", "labels.csv", ".hidden"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(grey_png(len(name)))
    (root / "link.png").symlink_to("/etc/hostname")
    images = found(root)
    assert listed(images) == [
        ("link.png", "a link that leads out of the folder; copy what it leads to"),
        *((name, grey_png(len(name))) for name in ("a/x.jpg", "b.png", "notes.txt")),
    ]
    assert images.description == "3 files; 1 table beside them, left out"


def test_rows_of_parquet_need_no_label_and_one_without_bytes_stands_in_its_place(tmp_path: Path) -> None:
    table = pa.table({"image": pa.array([grey_png(1), None, grey_png(3)], pa.binary()), "split": ["x", "y", "z"]})
    pq.write_table(table, tmp_path / "some.parquet")
    expected = [("row 0", grey_png(1)), ("row 1", "no bytes of an image"), ("row 2", grey_png(3))]
    assert listed(found(tmp_path / "some.parquet")) == [(f"some.parquet:{row}", data) for row, data in expected]
    alone = pa.table({"picture": pa.array([grey_png(1)], pa.binary())})
    pq.write_table(alone, tmp_path / "alone.parquet")
    with pytest.raises(PermanentError, match=r"alone\.parquet must have a column with images"):
        found(tmp_path / "alone.parquet")
    assert listed(found(tmp_path / "alone.parquet", "picture")) == [("alone.parquet:row 0", grey_png(1))]


@pytest.mark.parametrize("name", ["list.csv", "list.jsonl", "list.parquet"])
def test_a_list_of_paths_needs_no_labels(tmp_path: Path, name: str) -> None:
    (tmp_path / "one.png").write_bytes(grey_png(1))
    paths = ["two.png", "one.png", "../outside.png"]
    if name.endswith("parquet"):
        pq.write_table(pa.table({"path": paths}), tmp_path / name)
    elif name.endswith("csv"):
        (tmp_path / name).write_text("path\n" + "\n".join(paths))
    else:
        (tmp_path / name).write_text("".join(f'{{"path": "{path}"}}\n' for path in paths))
    images = found(tmp_path / name)
    outside, one, two = images.items()
    assert isinstance(outside, Refused)
    assert "leaves the list's folder" in outside.reason
    assert not isinstance(one, Refused)
    assert (one.place, one.read()) == ("one.png", grey_png(1))
    assert not isinstance(two, Refused)
    with pytest.raises(PermanentError, match=r"nothing lies at two.png"):
        two.read()


def test_a_listing_is_another_once_a_file_changes_comes_or_goes(tmp_path: Path) -> None:
    root = tmp_path / "images"
    root.mkdir()
    (root / "a.png").write_bytes(grey_png(1))
    first = found(root).listing
    assert found(root).listing == first
    (root / "b.png").write_bytes(grey_png(1))
    second = found(root).listing
    (root / "b.png").write_bytes(grey_png(1) + b"more")
    third = found(root).listing
    assert len({first, second, third}) == 3
    (root / "list.csv").write_text("path\na.png\n")
    listed = found(root / "list.csv").listing
    (root / "a.png").write_bytes(grey_png(1) + b"more")
    assert found(root / "list.csv").listing != listed
