"""Lists of images and labels as people, spreadsheets and Hugging Face write them, and as nobody should."""

import json
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.errors import NotFound
from lib.images.layouts import Columns, find_layout
from lib.images.source_images import TO_BE_FOUND
from lib.images.sources import open_source
from tests.s3_server import S3Server

from .test_layouts import Rows, lay, layout_of, refusal, rows_of

TWO: Rows = [("1.jpg", "a", None), ("2.jpg", "b", None)]
SPLIT: Rows = [("1.jpg", "a", "train"), ("2.jpg", "b", "test")]
PLAIN = "file_name,label\n1.jpg,a\n2.jpg,b\n"
READ: dict[str, tuple[str, str | bytes, Columns, Rows]] = {
    "Hugging Face's names": ("x.csv", PLAIN, TO_BE_FOUND, TWO),
    "the other order of rows": ("x.csv", "file_name,label\n2.jpg,b\n1.jpg,a\n", TO_BE_FOUND, TWO),
    "a mark of UTF-8 and ends of Windows": (
        "x.csv", b"\xef\xbb\xbf" + PLAIN.replace("\n", "\r\n").encode(), TO_BE_FOUND, TWO,
    ),
    "semicolons, as of spreadsheets": ("x.csv", PLAIN.replace(",", ";"), TO_BE_FOUND, TWO),
    "tabs": ("x.tsv", PLAIN.replace(",", "\t"), TO_BE_FOUND, TWO),
    "commas within quotes": ("x.csv", 'path,label\n"1,2.jpg","a, b"\n', TO_BE_FOUND, [("1,2.jpg", "a, b", None)]),
    "a line end in a name": ("x.csv", 'path,label\n"1\n2.jpg",a\n', TO_BE_FOUND, [(r"1\n2.jpg", "a", None)]),
    "names in capitals, with blanks": ("x.csv", "Image , Class\n1.jpg, a\n 2.jpg,b \n", TO_BE_FOUND, TWO),
    "empty lines and no end of the last": ("x.csv", "file,y\n\n1.jpg,a\n\n\n2.jpg,b", TO_BE_FOUND, TWO),
    "further columns": ("x.csv", "id,image_path,width,target\n7,1.jpg,9,a\n8,2.jpg,9,b\n", TO_BE_FOUND, TWO),
    "columns that were named": (
        "x.csv", "path,file,label,kind\n0,1.jpg,x,a\n0,2.jpg,x,b\n", Columns("file", "kind"), TWO,
    ),
    "paths with ./ and ..": ("x.csv", "path,label\n./1.jpg,a\nz/../2.jpg,b\nz//3.jpg,c\n", TO_BE_FOUND,
                             [*TWO, ("z/3.jpg", "c", None)]),
    "numbers as labels": ("x.csv", "path,label\n1.jpg,10\n2.jpg,09\n", TO_BE_FOUND,
                          [("1.jpg", "10", None), ("2.jpg", "09", None)]),
    "a label as a Mac writes it": (
        "x.csv", "path,label\n1.jpg,caf\u00e9\n2.jpg,cafe\u0301\n", TO_BE_FOUND,
        [("1.jpg", "caf\u00e9", None), ("2.jpg", "caf\u00e9", None)],
    ),
    "splits": ("x.csv", "path,label,split\n1.jpg,a,Training\n2.jpg,b,eval\n", TO_BE_FOUND, SPLIT),
    "a single split": ("x.csv", "path,label,split\n1.jpg,a,train\n2.jpg,b,train\n", TO_BE_FOUND, TWO),
    "the column of splits as labels": (
        "x.csv", "path,label,split\n1.jpg,x,a\n2.jpg,x,b\n", Columns(label="split"), TWO,
    ),
    "JSON lines": (
        "x.jsonl", '{"file_name": "1.jpg", "label": "a", "box": [1]}\n\n{"label": "b", "file_name": "2.jpg"}',
        TO_BE_FOUND, TWO,
    ),
    "numbers in JSON lines": (
        "x.jsonl", '{"image": "1.jpg", "label": 3}\n{"image": "2.jpg", "label": 4.0}\n', TO_BE_FOUND,
        [("1.jpg", "3", None), ("2.jpg", "4", None)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_a_list_is_read(tmp_path: Path, name: str) -> None:
    file, text, columns, rows = READ[name]
    layout = layout_of(lay(tmp_path / "own", "", {file: text}) / file, columns)
    assert (rows_of(layout), layout.refused) == (rows, [])
    assert layout.splits_given == any(split for _, _, split in rows)


@pytest.mark.parametrize("place", ["", "metadata.csv"])
@pytest.mark.parametrize(
    ("listed", "named"), [("cafe\u0301.jpg", "caf\u00e9.jpg"), ("caf\u00e9.jpg", "cafe\u0301.jpg")]
)
def test_a_list_made_on_a_mac_is_of_files_that_are_named_elsewhere(
    tmp_path: Path, place: str, listed: str, named: str
) -> None:
    own = lay(tmp_path / "own", named, {"metadata.csv": f"file_name,label\n{listed},a\n"})
    layout = layout_of(own / place)
    assert ([each.read() for each in layout.images()], layout.refused) == ([named.encode()], [])


def test_what_a_named_list_names_is_looked_for_in_its_folder(tmp_path: Path) -> None:
    own = lay(tmp_path / "own", "", {"x.csv": PLAIN})
    with pytest.raises(NotFound, match=r"^nothing lies at 1\.jpg in .*/own$"):
        next(layout_of(own / "x.csv").images()).read()


def test_a_list_is_described_with_the_columns_that_were_read(tmp_path: Path) -> None:
    own = lay(tmp_path / "own", "", {"x.csv": "path,label,split,p\n1.jpg,a,train,7\n2.jpg,b,test,7\n3.jpg,a,train,\n"})
    layout = layout_of(own / "x.csv", Columns(group="p"))
    assert layout.description == ("1 list (x.csv): 2 classes, 3 files; train 2, test 1; columns path, label, p, split")
    assert [each.group for each in layout.images()] == ["7", "7", None]


MIXED: dict[str, tuple[str, str, str]] = {
    "no label": ("1.jpg,", "line 3", "no label"),
    "no path": (",a", "line 3", "no path"),
    "a short row": ("1.jpg", "line 3", "no label"),
    "a long row": ("1.jpg,a,b", "line 3", "more values than the header has"),
    "an absolute path": (
        "/etc/passwd,a", "line 3", "'/etc/passwd', an absolute path; it must be relative to the list's folder",
    ),
    "a path out of it": ("../x.jpg,a", "line 3", "'../x.jpg', a path that leaves the list's folder"),
    "a path out of it at last": ("a/../../x.jpg,a", "line 3", "'a/../../x.jpg', a path that leaves the list's folder"),
    "the folder itself": ("a/..,a", "line 3", "'a/..', a path that leaves the list's folder"),
    "an address": ("https://example.org/1.jpg,a", "line 3", "an address, where a path in the list's folder must stand"),
    "a row that was there": ("0.jpg,z", "line 3", "the same file as at x.csv:line 2"),
    "a row that was there, as another path": ("./0.jpg,z", "line 3", "the same file as at x.csv:line 2"),
    "a long label": (f"1.jpg,{'x' * 201}", "line 3", "a text of 201 characters; at most 200 may stand there"),
    "a label with a control character": ("1.jpg,a\x1b[2J", "line 3", r"'a\x1b[2J', which has characters that cannot be "
                                         "written"),
    "a row of two lines": ('1.jpg,"\n"', "line 4", "no label"),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXED)
def test_a_row_that_cannot_be_used_is_refused_alone(tmp_path: Path, name: str) -> None:
    row, where, reason = MIXED[name]
    layout = layout_of(lay(tmp_path / "own", "", {"x.csv": f"path,label\n0.jpg,z\n{row}\n"}) / "x.csv")
    assert (rows_of(layout), layout.refused) == ([("0.jpg", "z", None)], [(f"x.csv:{where}", reason)])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"path": "1.jpg", "label": None}, "no label"),
        ({"path": "1.jpg"}, "no label"),
        ({"path": "1.jpg", "label": float("nan")}, "no label"),
        ({"path": "1.jpg", "label": ["a", "b"]}, "['a', 'b'] where a text or a whole number must stand"),
        ({"path": "1.jpg", "label": 0.5}, "0.5 where a text or a whole number must stand"),
        ({"path": "1.jpg", "label": "\ud800"}, r"'\ud800', which has characters that cannot be written"),
        ({"path": "\ud800.jpg", "label": "a"}, r"'\ud800.jpg', which is no path"),
        ({"path": "a\0.jpg", "label": "a"}, r"'a\x00.jpg', which is no path"),
        ({"path": {"bytes": ""}, "label": "a"}, "{'bytes': ''}, which is no path"),
        ({"path": 7, "label": "a"}, "7, which is no path"),
    ],
)
def test_a_json_line_that_cannot_be_used_is_refused_alone(tmp_path: Path, row: object, reason: str) -> None:
    text = f'{{"path": "0.jpg", "label": "z"}}\n{json.dumps(row)}\n'
    layout = layout_of(lay(tmp_path / "own", "", {"x.jsonl": text}) / "x.jsonl")
    assert (rows_of(layout), layout.refused) == ([("0.jpg", "z", None)], [("x.jsonl:line 2", reason)])


def test_a_files_existence_is_found_as_it_is_read_where_only_the_list_is_named(tmp_path: Path) -> None:
    own = lay(tmp_path / "own", "1.jpg", {"x.csv": PLAIN})
    first, second = layout_of(own / "x.csv").images()
    assert first.read() == b"1.jpg"
    with pytest.raises(NotFound):
        second.read()


FOLDERS: dict[str, tuple[str, dict[str, str], str, Rows]] = {
    "metadata": (
        "1.jpg 2.jpg", {"metadata.csv": PLAIN}, "1 list (metadata.csv): 2 classes, 2 files; columns file_name, label",
        TWO,
    ),
    "metadata with another path": (
        "1.jpg 2.jpg", {"metadata.csv": "path,file_name,label\nx,1.jpg,a\ny,2.jpg,b\n"},
        "1 list (metadata.csv): 2 classes, 2 files; columns file_name, label", TWO,
    ),
    "metadata as JSON lines": (
        "1.jpg", {"metadata.jsonl": '{"file_name": "1.jpg", "label": 7}\n'},
        "1 list (metadata.jsonl): 1 class, 1 file; columns file_name, label", [("1.jpg", "7", None)],
    ),
    "images in one folder": (
        "images/1.jpg images/2.jpg README.md", {"labels.csv": "path,label\nimages/1.jpg,a\nimages/2.jpg,b\n"},
        "1 list (labels.csv): 2 classes, 2 files; columns path, label",
        [("images/1.jpg", "a", None), ("images/2.jpg", "b", None)],
    ),
    "images in no row": (
        "1.jpg 2.jpg 3.jpg", {"metadata.csv": PLAIN},
        "1 list (metadata.csv): 2 classes, 2 files; columns file_name, label; 1 image in no row, left out", TWO,
    ),
    "metadata in splits": (
        "train/1.jpg train/2.jpg test/1.jpg test/2.jpg", {"train/metadata.csv": PLAIN, "test/metadata.csv": PLAIN},
        "2 lists (test/metadata.csv, train/metadata.csv): 2 classes, 4 files; train 2, test 2; columns "
        "file_name, label",
        [("test/1.jpg", "a", "test"), ("test/2.jpg", "b", "test"),
         ("train/1.jpg", "a", "train"), ("train/2.jpg", "b", "train")],
    ),
    "a list for each split": (
        "images/1.jpg images/2.jpg",
        {"train.csv": "path,label\nimages/1.jpg,a\n", "test.csv": "path,label\nimages/2.jpg,b\n"},
        "2 lists (test.csv, train.csv): 2 classes, 2 files; train 1, test 1; columns path, label",
        [("images/1.jpg", "a", "train"), ("images/2.jpg", "b", "test")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_with_lists_is_read(tmp_path: Path, name: str) -> None:
    files, texts, description, rows = FOLDERS[name]
    own = lay(tmp_path / "own", files, texts)
    layout = layout_of(own)
    assert (layout.description, rows_of(layout)) == (description, rows)
    assert (layout.splits_given, layout.refused) == (any(split for _, _, split in rows), [])


def test_in_a_folder_a_row_must_name_one_of_its_files(tmp_path: Path) -> None:
    layout = layout_of(lay(tmp_path / "own", "1.jpg", {"metadata.csv": PLAIN}))
    assert (rows_of(layout), layout.refused) == (TWO[:1], [("metadata.csv:line 3", "no file lies at '2.jpg'")])


def test_a_file_in_two_lists_of_splits_is_refused(tmp_path: Path) -> None:
    own = lay(tmp_path / "own", "1.jpg 2.jpg", {"train.csv": PLAIN, "test.csv": PLAIN})
    says = "a file must have one split; 1.jpg has test at test.csv:line 2 and train at train.csv:line 2; correct one "
    assert refusal(own) == f"{says}of them"


@pytest.mark.parametrize("name", ["metadata.parquet", "x.parquet"])
def test_a_list_may_be_a_parquet_file(tmp_path: Path, name: str) -> None:
    own = lay(tmp_path / "own", "1.jpg 2.jpg")
    columns = {"file_name": ["1.jpg", "2.jpg", None], "label": pa.array(["a", "b", "c"]).dictionary_encode()}
    pq.write_table(pa.table({**columns, "box": [[1], [2], [3]]}), own / name)
    for place in (own, own / name):
        layout = layout_of(place)
        assert (rows_of(layout), layout.refused) == (TWO, [(f"{name}:row 2", "no path")])
        assert layout.description == f"1 list ({name}): 2 classes, 2 files; columns file_name, label"


@pytest.mark.parametrize("below", ["", "/labels.csv"])
def test_a_list_in_a_bucket_is_read(s3_environment: S3Server, tmp_path: Path, below: str) -> None:
    folder, client = uuid.uuid4().hex, s3_environment.client()
    objects = {"labels.csv": b"path,label\nimages/1.jpg,a\nimages/2.jpg,b\n../x.jpg,a\n", "images/1.jpg": b"one"}
    for key, body in {**objects, "images/2.jpg": b"two"}.items():
        client.put_object(Bucket=s3_environment.bucket, Key=f"{folder}/{key}", Body=body)
    layout = find_layout(open_source(f"s3://{s3_environment.bucket}/{folder}{below}", tmp_path / "cache"))
    assert [each.read() for each in layout.images()] == [b"one", b"two"]
    assert rows_of(layout) == [("images/1.jpg", "a", None), ("images/2.jpg", "b", None)]
    assert layout.refused == [("labels.csv:line 4", "'../x.jpg', a path that leaves the list's folder")]
