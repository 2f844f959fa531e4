"""Images without labels, to be predicted: each file of a folder, or each row of Parquet files or of a list of paths."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from lib.errors import PermanentError, counted, printable, shortened
from lib.images.image_lists import read_list
from lib.images.image_tables import Part, describe, table_images
from lib.images.layouts import LISTS, read_listed
from lib.images.listed_images import ImageList
from lib.images.source_files import OPTION, Refused, Source, place_of
from lib.images.source_images import LARGEST_IMAGE_BYTES, Columns, SourceImage
from lib.lineage.digests import digest_long_json

Item = SourceImage | Refused
"""What lies in a source: an image that is not read yet, or what cannot be one."""


class Unlabelled(NamedTuple):
    """The images of a source, and what tells whether they are others."""

    uri: str
    """To be shown: without secrets."""
    description: str
    """One line for people: what was found before any image was read."""
    listing: str
    """Digest of where the source is, and of path, size and time of change (in a bucket: ETag) of each of its files."""
    items: Callable[[], Iterator[Item]]
    """All, in an order that depends on their names alone. What is refused stands where it was found."""


def find_unlabelled(source: Source, image_column: str | None = None) -> Unlabelled:
    """The images of `source`. No image is read. `image_column` is that of a table, where it is not to be found.

    Tables beside images are left out. Raises PermanentError where there is no image, or a table has no such column.
    """
    paths, columns = source.paths(), Columns(image=image_column)
    if source.table is not None and not source.table.lower().endswith(".parquet"):
        return _listed(source, source.table, columns)
    tables = [path for path in paths if path.lower().endswith(".parquet")]
    files = [path for path in paths if not path.lower().endswith((".parquet", *LISTS))]
    if files:
        left_out = len(paths) - len(files)
        more = f"; {counted(left_out, 'table')} beside them, left out" if left_out else ""
        return _unlabelled(source, f"{counted(len(files), 'file')}{more}", files, partial(_files, source, files))
    if not tables:
        raise PermanentError(
            f"{OPTION} must name images, Parquet files or a list; {source.uri} has {counted(len(paths), 'list')} and "
            f"no image, such as {shortened(place_of(paths[0]))}: name the list that is meant"
        )
    if describe(source, tables[0], columns, labelled=False).paths:
        if len(tables) > 1:
            raise PermanentError(f"{OPTION} must name one list of paths; {source.uri} has {len(tables):,}; name one")
        return _listed(source, tables[0], columns)
    said = f"Parquet: {counted(len(tables), 'file')}"
    return _unlabelled(source, said, tables, partial(_rows, source, tables, columns))


def _unlabelled(source: Source, said: str, files: Iterable[str], items: Callable[[], Iterator[Item]]) -> Unlabelled:
    states = ([place_of(path), source.state(path)] for path in files)
    return Unlabelled(source.uri, printable(said), digest_long_json({"source": source.uri, "files": states}), items)


def _files(source: Source, files: Sequence[str]) -> Iterator[Item]:
    yield from source.refused
    for path in files:
        yield _image(path, partial(source.read, path, LARGEST_IMAGE_BYTES))


def _rows(source: Source, tables: Sequence[str], columns: Columns) -> Iterator[Item]:
    yield from source.refused
    for path in tables:
        table, refused = describe(source, path, columns, labelled=False), list[Refused]()
        for image in table_images(source, Part(path, None), table, (False, False), refused):
            yield from refused  # before it
            refused.clear()
            yield image
        yield from refused


def _listed(source: Source, path: str, columns: Columns) -> Unlabelled:
    listed = ImageList()
    read_list(source, path, columns, None, None, listed, labelled=False)

    def items() -> Iterator[Item]:
        yield from listed.refused
        for each, _ in listed.in_order():
            yield _image(each, partial(read_listed, source, each))

    files = (each for group in ([path], (each for each, _ in listed.in_order())) for each in group)
    said = f"a list ({shortened(place_of(path))}) of {counted(listed.count, 'file')}"
    return _unlabelled(source, said, files, items)


def _image(path: str, read: Callable[[], bytes]) -> SourceImage:
    return SourceImage(place_of(path), "", None, None, read)
