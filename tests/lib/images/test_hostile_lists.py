"""Lists that nobody can read, or that are made to do harm, are refused within a moment."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.images.layouts import Columns
from lib.images.source_images import TO_BE_FOUND

from .test_image_lists import PLAIN
from .test_layouts import lay, layout_of, refusal

IN_UTF_8 = "{} must be lines of text in UTF-8; received "
REFUSED: dict[str, tuple[str, str | bytes | Callable[[Path], object], str]] = {
    "UTF-16": ("x.csv", PLAIN.encode("utf-16"), "UTF-16; save it as UTF-8"),
    "UTF-16 without a mark": ("x.csv", PLAIN.encode("utf-16-le"), "a NUL byte in line 1; save it as UTF-8"),
    "Latin-1": ("x.csv", "path,label\n1.jpg,café\n".encode("latin-1"), r"another encoding in line 2: b'\xe9'; save"),
    "a spreadsheet": ("x.csv", b"PK\3\4...", "a ZIP file, as of Excel; save it as UTF-8"),
    "NUL bytes": ("x.csv", PLAIN.encode() + bytes(1_000), "a NUL byte in line 4; save it as UTF-8"),
    "ends of old Macs": ("x.csv", PLAIN.replace("\n", "\r"), "line ends CR alone, as of old Macs; save it with line"),
    "JSON lines with such ends": ("x.jsonl", '{"path": "1", "label": 1}\r' * 2, "line ends CR alone, as of old Macs; "),
    "a line of 1 GB": ("x.csv", lambda at: (at.write_text("x"), os.truncate(at, 1 << 30)), "line 1 with more"),
    "a header of 1 GB": (
        "x.jsonl", lambda at: at.write_bytes(b"x" * 1_000_001), "line 1 with more than 1,000,000 bytes; divide that",
    ),
}  # fmt: skip


def write(folder: Path, file: str, text: str | bytes | Callable[[Path], object]) -> Path:
    if callable(text):
        lay(folder, file)
        text(folder / file)
        return folder / file
    return lay(folder, "", {file: text}) / file


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_text_is_refused_within_a_moment(tmp_path: Path, name: str) -> None:
    file, text, says = REFUSED[name]
    started = time.process_time()
    assert refusal(write(tmp_path / "own", file, text)).startswith(IN_UTF_8.format(file) + says)
    assert time.process_time() - started < 1


CSV = "x.csv must be a table as CSV or TSV has it; received at line "
NO_TABLE: dict[str, tuple[str, str, Columns, str]] = {
    "nothing": (
        "x.csv", "", TO_BE_FOUND, "x.csv must have names of columns in its first line; received none; add them",
    ),
    "no rows": (
        "x.csv", "path,label\n", TO_BE_FOUND,
        "x.csv must have rows that can be used; received none: it has no rows; mend it, or --from another",
    ),
    "no objects": (
        "x.jsonl", "\n \n", TO_BE_FOUND,
        "x.jsonl must have rows that can be used; received none: it has no rows; mend it, or --from another",
    ),
    "rows that are all refused": (
        "x.csv", "path,label\n/1.jpg,a\n", TO_BE_FOUND,
        "x.csv must have rows that can be used; received none: x.csv:line 2: '/1.jpg', an absolute path; it must be "
        "relative to the list's folder; mend it, or --from another",
    ),
    "no header": (
        "x.csv", "1.jpg,a\n2.jpg,b\n", TO_BE_FOUND,
        "x.csv must have a column with each image's path; received the columns 1.jpg, a; name one by --image-column",
    ),
    "no labels": (
        "x.csv", "path,width\n1.jpg,9\n", TO_BE_FOUND,
        "x.csv must have a column with each image's label; received the columns path, width; name one by "
        "--label-column",
    ),
    "two columns of paths": (
        "x.csv", "path,filename,label\n1,1,a\n", TO_BE_FOUND,
        "x.csv must have one image column; received path, filename; name one by --image-column",
    ),
    "two columns of labels": (
        "x.csv", "path,label,class_name\n1,1,a\n", TO_BE_FOUND,
        "x.csv must have one label column; received label, class_name; name one by --label-column",
    ),
    "a column twice": (
        "x.csv", "path,label,label\n1,1,a\n", TO_BE_FOUND,
        "x.csv must have one label column; received label, label; name one by --label-column",
    ),
    "a column that is not there": (
        "x.csv", "path,label\n1,a\n", Columns(label="Label"),
        "x.csv must have the column Label, as --label-column says; received the columns path, label; name one by "
        "--label-column",
    ),
    "a group that is not there": (
        "x.csv", "path,label\n1,a\n", Columns(group="p"),
        "x.csv must have the column p, as --group-column says; received the columns path, label; name one by "
        "--group-column",
    ),
    "two labels of a file": (
        "x.csv", "path,label\n1.jpg,a\n./1.jpg,b\n", TO_BE_FOUND,
        "a file must have one label; 1.jpg has a at x.csv:line 2 and b at x.csv:line 3; correct one of them",
    ),
    "two splits of a file": (
        "x.csv", "path,label,split\n1.jpg,a,train\n1.jpg,a,test\n", TO_BE_FOUND,
        "a file must have one split; 1.jpg has train at x.csv:line 2 and test at x.csv:line 3; correct one of them",
    ),
    "two groups of a file": (
        "x.csv", "path,label,p\n1.jpg,a,7\n1.jpg,a,8\n", Columns(group="p"),
        "a file must have one group; 1.jpg has 7 at x.csv:line 2 and 8 at x.csv:line 3; correct one of them",
    ),
    "a split of another name": (
        "x.csv", "path,label,split\n1.jpg,a,fold1\n", TO_BE_FOUND,
        "x.csv:line 2 must have train, validation or test as its split; received 'fold1'; correct it, or rename that "
        "column",
    ),
    "splits without train": (
        "x.csv", "path,label,split\n1.jpg,a,val\n2.jpg,a,test\n", TO_BE_FOUND,
        "{} must have a split train; received validation and test; name one so",
    ),
    "a quote without an end": (
        "x.csv", 'path,label\n"1.jpg,a\n', TO_BE_FOUND, f"{CSV}2: unexpected end of data; mend it",
    ),
    "a field without an end": (
        "x.csv", 'path,label\n"' + "1.jpg,a\n" * 100_000, TO_BE_FOUND,
        f"{CSV}16,386: field larger than field limit (131072); mend it",
    ),
    "an end of old Macs among others": (
        "x.csv", "path,label\n1.jpg,a\r2.jpg,b\n", TO_BE_FOUND,
        f"{CSV}2: line ends CR alone, as of old Macs; mend it",
    ),
    "paths of Windows": (
        "x.csv", "path,label\nrose\\1.jpg,a\nb\\2.jpg,b\n", TO_BE_FOUND,
        "x.csv must have / between the parts of its paths; received b\\2.jpg; replace each \\ by /",
    ),
    "no JSON": (
        "x.jsonl", '{"path": "1", "label": 1}\n{"path"\n', TO_BE_FOUND,
        "x.jsonl:line 2 must be a JSON object; received {{\"path\": Expecting ':' delimiter: line 2 column 1 (char 8); "
        "mend it",
    ),
    "no JSON object": (
        "x.jsonl", "[1]\n", TO_BE_FOUND, "x.jsonl:line 1 must be a JSON object; received [1]; mend it",
    ),
    "JSON without an end": (
        "x.jsonl", "[" * 100_000, TO_BE_FOUND,
        "x.jsonl:line 1 must be a JSON object; received " + "[" * 100 + "…: maxi",
    ),
}  # fmt: skip


def test_paths_of_windows_in_a_folder_are_said_to_be_such(tmp_path: Path) -> None:
    own = lay(tmp_path / "own", "rose/1.jpg", {"metadata.csv": "file_name,label\nrose\\1.jpg,a\n"})
    assert refusal(own) == (
        r"metadata.csv must have / between the parts of its paths; received rose\1.jpg; replace each \ by /"
    )


def test_a_backslash_in_the_name_of_a_file_is_no_path_of_windows(tmp_path: Path) -> None:
    own = lay(tmp_path / "own", "rose\\1.jpg", {"x.csv": "path,label\nrose\\1.jpg,a\n"})
    assert [each.read() for each in layout_of(own / "x.csv").images()] == [b"rose\\1.jpg"]


@pytest.mark.parametrize("name", NO_TABLE)
def test_a_list_that_cannot_be_read_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    file, text, columns, says = NO_TABLE[name]
    place = lay(tmp_path / "own", "", {file: text}) / file
    said = refusal(place, columns)
    assert said.startswith(says.format(place))
    assert said == says.format(place) or name == "JSON without an end"
