"""Lists of images and their labels: CSV, TSV, JSON lines, or Parquet with paths. Each becomes rows of text."""

import csv
import json
import posixpath
import re
from collections.abc import Container, Iterator
from typing import Any

from lib.errors import PermanentError, TooLarge, shortened
from lib.files import open_regular
from lib.images.image_tables import names_of_classes, text_rows
from lib.images.listed_images import ImageList, ListedImage
from lib.images.source_files import Refused, Source, place_of
from lib.images.source_images import (
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    SPLIT_COLUMN,
    Columns,
    Split,
    all_refused,
    find_column,
    no_column,
    required,
    spellings,
    split_of,
    text_of,
)

LONGEST_LINE_BYTES = 1_000_000
MOST_ROWS = 20_000_000
MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00": "UTF-32, or no text", b"PK": "a ZIP file, as of Excel"}
"""How files begin that are no UTF-8."""
OLD_LINE_ENDS = "line ends CR alone, as of old Macs"
SURROGATES = re.compile("[\ud800-\udfff]")
DELIMITERS = ",;\t"
Row = tuple[str, dict[str | None, Any]]
"""Where it stands, such as `line 7`, and its values by column; those beyond the last column under None."""


def read_list(
    source: Source,
    path: str,
    columns: Columns,
    split: Split | None,
    known: Container[str] | None,
    to: ImageList,
    labelled: bool = True,
) -> None:
    """Add the rows of the list at `path` to `to`. Its paths are relative to its folder, and must stay in it.

    `split` is that of all rows, where the list's place says one. `known` are the files of the source, where they are
    known: an image must be one of them. Where it is not to be `labelled`, only paths are read. Raises PermanentError
    where the file is no such list, no row can be used, or a file has two labels.
    """
    place, before = place_of(path), to.count
    names, rows = _rows(source, path)
    if posixpath.basename(path).lower().startswith("metadata.") and "file_name" in names and columns.image is None:
        columns = columns._replace(image="file_name")  # Hugging Face's rule
    found = _columns(names, columns, place, labelled)
    if split is not None:
        found.pop(SPLIT_COLUMN, None)  # its place counts, as where it lies in a folder of a split
    to.columns |= dict.fromkeys(found.values())
    if labelled and path.lower().endswith(".parquet"):
        to.class_names |= dict.fromkeys(names_of_classes(source, path, found["label"]))
    refused: list[Refused] = []
    folder = path[: path.rfind("/") + 1]
    said, backslashes = None, True
    for number, (where, row) in enumerate(rows):
        if number >= MOST_ROWS:
            raise PermanentError(f"{place} must have at most {MOST_ROWS:,} rows; received more; divide it")
        said = row.get(found["image"])
        backslashes = backslashes and isinstance(said, str) and "\\" in said and "/" not in said
        try:
            image = _inside(folder, said, known)
            listed = _listed(row, found, split, f"{place}:{where}")
            to.add(image, listed)
        except ValueError as error:
            refused.append(Refused(f"{place}:{where}", str(error)))
    to.refused += refused
    if said and backslashes and (to.count == before or (known is None and not _lies_there(source, f"{folder}{said}"))):
        raise PermanentError(
            f"{place} must have / between the parts of its paths; received {shortened(str(said))}; replace each \\ by /"
        )
    if to.count == before:
        raise all_refused(place, refused)


def _lies_there(source: Source, path: str) -> bool:
    try:
        source.read(path, 1)
    except TooLarge:
        return True
    except PermanentError:
        return False
    return True


def is_list(source: Source, path: str, columns: Columns) -> bool:
    """Whether the table at `path` has columns of images and of labels, and so is no other table that lies about."""
    try:
        names = {name.strip().lower() for name in _rows(source, path)[0]}
    except PermanentError:  # no text
        return False
    return any(columns) or not (names.isdisjoint(IMAGE_COLUMNS) or names.isdisjoint(LABEL_COLUMNS))


def _columns(names: list[str], columns: Columns, place: str, labelled: bool) -> dict[str, str]:
    """Names by what they hold: image and, if `labelled`, label, and perhaps group and split."""
    found = {}
    kinds = [("image", columns.image, IMAGE_COLUMNS, "path"), ("label", columns.label, LABEL_COLUMNS, "label")]
    for what, wanted, candidates, holds in kinds if labelled else kinds[:1]:
        name = find_column(names, wanted, candidates, what, place)
        if name is None:
            raise no_column(names, f"a column with each image's {holds}", what, place)
        found[what] = name
    if not labelled:
        return found
    if columns.group is not None:
        found["group"] = find_column(names, columns.group, (), "group", place) or ""
    others = [name for name in names if name not in found.values()]
    if split := next((name for name in others if name.strip().lower() == SPLIT_COLUMN), None):
        found[SPLIT_COLUMN] = split
    return found


def _listed(row: dict[str | None, Any], found: dict[str, str], split: Split | None, where: str) -> ListedImage:
    """Raises ValueError, whose text is the reason that the row is refused."""
    if None in row:
        raise ValueError("more values than the header has")
    label = required(text_of(row.get(found["label"])), "label") if "label" in found else ""
    group = text_of(row.get(found["group"])) if "group" in found else None
    if SPLIT_COLUMN in found:
        said = required(text_of(row.get(found[SPLIT_COLUMN])), "split")
        if (split := split_of(said)) is None:
            raise PermanentError(
                f"{where} must have train, validation or test as its split; received {shortened(repr(said))}; "
                "correct it, or rename that column"
            )
    return ListedImage(label, split, group, where)


def _inside(folder: str, text: object, known: Container[str] | None) -> str:
    """The path in the source that `text` says in a list of `folder`, which is empty or ends with a /.

    Raises ValueError, whose text is a reason.
    """
    if text is None or not str(text).strip():
        raise ValueError("no path")
    if not isinstance(text, str) or SURROGATES.search(text) or "\0" in text:
        raise ValueError(f"{shortened(repr(text))}, which is no path")
    if "://" in text:
        raise ValueError("an address, where a path in the list's folder must stand")
    if text.startswith("/"):
        raise ValueError(f"{shortened(repr(text))}, an absolute path; it must be relative to the list's folder")
    inner = posixpath.normpath(text)
    if inner in {".", ".."} or inner.startswith("../"):
        raise ValueError(f"{shortened(repr(text))}, a path that leaves the list's folder")
    path = f"{folder}{inner}"
    if known is not None and (there := next((each for each in (path, *spellings(path)) if each in known), None)):
        return there
    if text != text.strip():  # as in "label, path"
        return _inside(folder, text.strip(), known)
    if known is not None:
        raise ValueError(f"no file lies at {shortened(repr(text))}")
    return path


def _rows(source: Source, path: str) -> tuple[list[str], Iterator[Row]]:
    """The columns of a list, and its rows."""
    kind = posixpath.splitext(path)[1].lower()
    if kind == ".parquet":
        return text_rows(source, path)
    if kind == ".jsonl":
        return _json_rows(_lines(source, path), place_of(path))
    return _csv_rows(_lines(source, path), place_of(path), "\t" if kind == ".tsv" else "")


def _lines(source: Source, path: str) -> Iterator[str]:
    """Its lines with their ends. Raises PermanentError where it is no UTF-8 or a line has no end."""
    place = place_of(path)
    with open_regular(source.local(path)) as stream:
        number = 0
        while line := stream.readline(LONGEST_LINE_BYTES + 1):
            number += 1
            if number == 1:
                for mark, what in MARKS.items():
                    if line.startswith(mark):
                        raise _no_text(place, what)
                line = line.removeprefix(b"\xef\xbb\xbf")
                if b"\r" in line.rstrip(b"\r\n"):
                    raise _no_text(place, OLD_LINE_ENDS, "save it with line ends LF")
            if len(line) > LONGEST_LINE_BYTES:
                raise _no_text(
                    place, f"line {number:,} with more than {LONGEST_LINE_BYTES:,} bytes", "divide that line"
                )
            if b"\0" in line:
                raise _no_text(place, f"a NUL byte in line {number:,}")
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                raise _no_text(
                    place, f"another encoding in line {number:,}: {line[error.start : error.end]!r}"
                ) from error


def _no_text(place: str, received: str, advice: str = "save it as UTF-8") -> PermanentError:
    return PermanentError(f"{place} must be lines of text in UTF-8; received {received}; {advice}")


def _csv_rows(lines: Iterator[str], place: str, delimiter: str) -> tuple[list[str], Iterator[Row]]:
    header = next(lines, "")
    found = delimiter or next((each for each in DELIMITERS if each in header), ",")

    def chained() -> Iterator[str]:
        yield header
        yield from lines

    reader = csv.reader(chained(), delimiter=found, strict=True)
    names = _next_values(reader, place) or []
    if not any(name.strip() for name in names):
        raise PermanentError(f"{place} must have names of columns in its first line; received none; add them")

    def rows() -> Iterator[Row]:
        while (values := _next_values(reader, place)) is not None:
            if values:  # else an empty line
                row: dict[str | None, Any] = dict(zip(names, values, strict=False))
                further = values[len(names) :]
                yield f"line {reader.line_num}", {**row, None: further} if further else row

    return names, rows()


def _next_values(reader: Any, place: str) -> list[str] | None:
    try:
        return next(reader, None)
    except csv.Error as error:
        received = OLD_LINE_ENDS if "new-line character" in str(error) else error  # else, what a programmer is to do
        raise PermanentError(
            f"{place} must be a table as CSV or TSV has it; received at line {reader.line_num:,}: {received}; mend it"
        ) from error


def _json_rows(lines: Iterator[str], place: str) -> tuple[list[str], Iterator[Row]]:
    def rows() -> Iterator[Row]:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield f"line {number}", _json(line, f"{place}:line {number}")

    found = rows()
    first = next(found, None)
    if first is None:
        raise all_refused(place, [])

    def chained() -> Iterator[Row]:
        yield first
        yield from found

    return [name for name in first[1] if name is not None], chained()


def _json(line: str, place: str) -> dict[str | None, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise PermanentError(f"{place} must be a JSON object; received {shortened(line)}: {error}; mend it") from error
    if not isinstance(row, dict):
        raise PermanentError(f"{place} must be a JSON object; received {shortened(line)}; mend it")
    return row
