"""Which layout a user's own images have: folders of classes, a list of files and labels, or Parquet.

Of a folder, the paths of its files are in memory: about 180 bytes for each, at their highest. Rows of tables and lists
are not, but for those that are refused.
"""

import posixpath
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial

from lib.errors import NotFound, PermanentError, counted, shortened
from lib.images.image_lists import is_list, read_list
from lib.images.image_tables import describe, table_layout
from lib.images.listed_images import ImageList
from lib.images.source_files import OPTION, Paths, Refused, Source, path_order, place_of
from lib.images.source_images import (
    LARGEST_IMAGE_BYTES,
    TO_BE_FOUND,
    Columns,
    Layout,
    SourceImage,
    Split,
    are_splits,
    of_splits,
    same_text,
    spellings,
    split_of,
    split_of_path,
)

__all__ = ["Columns", "Layout", "SourceImage", "find_layout"]

LISTS = (".csv", ".tsv", ".jsonl")
METADATA = {"metadata.csv", "metadata.jsonl", "metadata.parquet"}
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jfif", ".avif")
"""How names of images end, mostly: to tell them from other files beside a table. What is read is told by content."""
KINDS = (
    "a folder for each class (cat/1.jpg), perhaps in folders train, validation and test; a metadata.csv or .jsonl with "
    "file_name and label; a .csv, .tsv or .jsonl file of paths and labels; Parquet files with image and label"
)


def find_layout(source: Source, columns: Columns = TO_BE_FOUND) -> Layout:
    """The layout of `source`. No image is read, lists are, and of Parquet what it holds.

    Raises PermanentError where there is none or more than one, or columns are missing or could be several.
    """
    paths = source.paths()
    if source.table is None:
        return _of_folder(source, paths, columns)
    if source.table.lower().endswith(".parquet"):
        return _of_tables(source, paths, columns, None)
    return _of_lists(source, {source.table: None}, columns, None)


def _of_folder(source: Source, paths: Paths, columns: Columns) -> Layout:
    metadata = [path for path in paths if path.count("/") <= 1 and _name(path) in METADATA]
    known_metadata = set(metadata)
    tables = [path for path in paths if _ends(path, ".parquet") and path not in known_metadata]
    lists = [path for path in paths if "/" not in path and _ends(path, *LISTS) and path not in known_metadata]
    others = _in_folders(paths, {*metadata, *tables})
    in_splits = bool(others) and all(split_of(path.partition("/")[0]) for path in others)
    folders = _class_folders((path for path in others if _ends(path, *PICTURES)), in_splits)
    if folders:
        lists = [path for path in lists if is_list(source, path, columns)]
    # A list is about files in one folder, often: images/1.jpg.
    found = {
        "Parquet files": tables,
        "metadata": metadata,
        "a list": lists,
        "class folders": folders if len(folders) > (0 if tables else 1) or not (tables or metadata or lists) else [],
    }
    there = {what: names for what, names in found.items() if names}
    if len(there) > 1:
        raise _several(source, there)
    if tables:
        return _of_tables(source, tables, columns, paths)
    if metadata or lists:
        return _of_lists(source, _splits_of_lists(metadata or lists, source), columns, paths)
    if not others or not _class_folders(others, in_splits):
        raise PermanentError(f"{OPTION} must name images that are laid out as: {KINDS}; received {_received(source)}")
    return _of_class_folders(source, paths, columns, in_splits)


def _received(source: Source) -> str:
    paths = source.paths()
    example = shortened(place_of(paths[0]))
    return f"{source.uri} with {counted(len(paths), 'file')}, such as {example}, and no folder of a class"


def _several(source: Source, there: dict[str, list[str]]) -> PermanentError:
    shown = " and ".join(f"{what} ({shortened(', '.join(map(place_of, names[:3])))})" for what, names in there.items())
    one = next(names[0] for names in there.values())
    one = (posixpath.dirname(one) or one) if "Parquet files" in there else one  # its other parts lie beside it
    return PermanentError(
        f"images must have one layout; {source.uri} has {shown}; name the one that is meant, such as {OPTION} "
        f"{shortened(f'{source.uri}/{place_of(one)}')}, or move the other one away"
    )


def _name(path: str) -> str:
    return posixpath.basename(path).lower()


def _ends(path: str, *suffixes: str) -> bool:
    return path.lower().endswith(suffixes)


def _in_folders(paths: Paths, tables: Container[str]) -> list[str]:
    return [path for path in paths if "/" in path and path not in tables]


def _class_folders(paths: Iterable[str], in_splits: bool) -> list[str]:
    """The names of classes that folders may be, sorted."""
    depth = 1 if in_splits else 0
    parts = (path.split("/") for path in paths)
    return sorted({_class_of(each[depth]) for each in parts if len(each) > depth + 1}, key=path_order)


def _class_of(folder: str) -> str:
    return same_text(folder) or folder


def _of_class_folders(source: Source, paths: Paths, columns: Columns, in_splits: bool) -> Layout:
    if given := [f"--{what}-column" for what, name in columns._asdict().items() if name is not None]:
        raise PermanentError(f"{given[0]} names a column; {source.uri} has class folders and no columns; leave it out")
    depth = 1 if in_splits else 0
    if not in_splits:
        _check_top(source, paths)
    used = [path for path in paths if path.count("/") > depth]
    counts = Counter(split_of(path.partition("/")[0]) if in_splits else None for path in used)
    given_splits = are_splits(counts, source.uri)
    classes = _class_folders(used, in_splits)

    def images(_refused: list[Refused]) -> Iterator[SourceImage]:
        for path in used:
            top, *inner = path.split("/")
            split = split_of(top) if given_splits else None
            label = place_of(_class_of(inner[0] if in_splits else top))
            yield SourceImage(place_of(path), label, split, None, partial(source.read, path, LARGEST_IMAGE_BYTES))

    says = f"class folders: {counted(len(classes), 'class')}, {counted(len(used), 'file')}{of_splits(counts)}"
    notes = _notes(paths, used, classes, in_splits, given_splits)
    return Layout("; ".join([says, *notes]), given_splits, source.refused, images)


def _notes(paths: Paths, used: list[str], classes: list[str], in_splits: bool, given: bool) -> Iterator[str]:
    """What a person might not expect."""
    if in_splits and not given:
        yield f"all in {place_of(used[0].partition('/')[0])}, so they are not divided yet"
    if not in_splits and (taken := [name for name in classes if split_of(name)]):
        yield f"the folder {taken[0]} is taken for a class, as it lies beside others"
    alike = {name.casefold(): name for name in classes}
    if other := next((name for name in classes if alike[name.casefold()] != name), None):
        yield f"the classes {other} and {alike[other.casefold()]} differ in capital letters alone"
    if below := sum(path.count("/") > (2 if in_splits else 1) for path in used):
        yield f"{counted(below, 'file')} in folders below a class folder, taken for that class"
    if outside := len(paths) - len(used):
        yield f"{counted(outside, 'file')} in no class folder, left out"


def _check_top(source: Source, paths: Paths) -> None:
    """Raise PermanentError where the folders at the top are not classes, by all appearance."""
    tops = sorted({path.partition("/")[0] for path in paths if "/" in path}, key=path_order)
    splits = {split for top in tops if (split := split_of(top))}
    if "train" in splits and len(splits) > 1:
        other = next(top for top in tops if not split_of(top))
        raise PermanentError(
            f"the folders in {source.uri} must all be splits or all be classes; received "
            f"{shortened(', '.join(map(place_of, tops)))}; move {shortened(place_of(other))} away"
        )
    inner = {path.split("/")[1] for path in paths if path.count("/") > 1}
    if len(tops) == 1 and len(inner) > 1:
        raise PermanentError(
            f"{OPTION} must name the folder in which the class folders lie; received {source.uri}, with the one folder "
            f"{shortened(place_of(tops[0]))}, in which {len(inner):,} lie; name that one"
        )


def _of_tables(source: Source, tables: Sequence[str], columns: Columns, known: Paths | None) -> Layout:
    table = describe(source, tables[0], columns)
    if table.paths:
        return _of_lists(source, _splits_of_lists(tables, source), columns, known)
    return table_layout(source, tables, table, columns)


def _splits_of_lists(lists: Sequence[str], source: Source) -> dict[str, Split | None]:
    """The split of each of several lists: of its folder (`train/metadata.csv`), or of its name (`train.csv`)."""
    if len(lists) == 1:
        return dict.fromkeys(lists)
    folders = {path: split_of(posixpath.dirname(path)) for path in lists}
    names = {path: split_of_path(path) for path in lists}
    apart = {posixpath.dirname(path) for path in lists} - {""}
    if len(apart) == len(lists) and all(folders.values()) == any(folders.values()):
        return folders
    if all(names.values()):
        return names
    raise PermanentError(
        f"of several lists each must have train, validation or test in its name; {source.uri} has "
        f"{shortened(', '.join(map(place_of, lists)))}; name one of them by {OPTION}, or move the others away"
    )


def read_listed(source: Source, path: str) -> bytes:
    try:
        return source.read(path, LARGEST_IMAGE_BYTES)
    except NotFound:
        for other in spellings(path):
            with suppress(NotFound):
                return source.read(other, LARGEST_IMAGE_BYTES)
        raise


def _of_lists(source: Source, lists: dict[str, Split | None], columns: Columns, known: Paths | None) -> Layout:
    """`known`: the files of the source; None where only its list is known."""
    listed = ImageList()
    for path, split in lists.items():
        read_list(source, path, columns, split, known, listed)
    counts = listed.splits()
    given = are_splits(counts, source.uri)

    def images(_refused: list[Refused]) -> Iterator[SourceImage]:
        for path, (label, split, group, _) in listed.in_order():
            read = partial(read_listed, source, path)
            yield SourceImage(place_of(path), label, split if given else None, group, read)

    classes = counted(listed.count_classes(), "class")
    outside = sum(_ends(path, *PICTURES) and path not in listed for path in known or ())
    says = (
        f"{counted(len(lists), 'list')} ({shortened(', '.join(map(place_of, lists)))}): {classes}, "
        f"{counted(listed.count, 'file')}{of_splits(counts)}; columns {shortened(', '.join(listed.columns))}"
    )
    notes = [f"{counted(outside, 'image')} in no row, left out"] if outside else []
    return Layout("; ".join([says, *notes]), given, [*source.refused, *listed.refused], images, listed.class_names)
