"""What the lists of a source say, in a temporary database: rows of any number take the same memory."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from lib.errors import PermanentError, shortened
from lib.images.source_files import Refused, path_order, place_of
from lib.images.source_images import Split
from lib.temporary import temporary_database


class ListedImage(NamedTuple):
    """One row of a list."""

    label: str
    split: Split | None
    group: str | None
    row: str
    """Where it stands, with the list's name."""


class ImageList:
    """What one or several lists of a source say, by the image's path in the source."""

    def __init__(self) -> None:
        self._database = temporary_database()
        # By the bytes of paths, which may be no UTF-8, and so in their order.
        self._database.execute("CREATE TABLE listed (path PRIMARY KEY, label, split, grouped, row) WITHOUT ROWID")
        self.refused: list[Refused] = []
        self.columns: dict[str, None] = {}
        """Those that are read, in the order they were found."""
        self.class_names: dict[str, None] = {}
        """Those that Parquet numbers, in the order of their numbers."""
        self.count = 0

    def __del__(self) -> None:
        self._database.close()  # a layout has no end of its own

    def add(self, image: str, listed: ListedImage) -> None:
        """Add a row. Raises ValueError, a reason, where it is there already, and PermanentError where it differs."""
        row = self._database.execute(
            "INSERT OR IGNORE INTO listed VALUES (?, ?, ?, ?, ?)", (path_order(image), *listed)
        )
        if row.rowcount:
            self.count += 1
            return
        before = self._listed(image)
        assert before
        for what in ("label", "split", "group"):
            one, other = getattr(before, what), getattr(listed, what)
            if one != other:
                raise PermanentError(
                    f"a file must have one {what}; {shortened(place_of(image))} has {shortened(str(one))} at "
                    f"{before.row} and {shortened(str(other))} at {listed.row}; correct one of them"
                )
        raise ValueError(f"the same file as at {before.row}")

    def __contains__(self, image: str) -> bool:
        return self._listed(image) is not None

    def in_order(self) -> Iterator[tuple[str, ListedImage]]:
        """Path and row of each image, by the bytes of the paths."""
        for path, *listed in self._database.execute("SELECT * FROM listed ORDER BY path"):
            yield path.decode("utf-8", "surrogateescape"), ListedImage(*listed)

    def splits(self) -> Counter[Split | None]:
        """How many images each has."""
        return Counter(dict(self._database.execute("SELECT split, count(*) FROM listed GROUP BY split")))

    def count_classes(self) -> int:
        count: int = self._database.execute("SELECT count(DISTINCT label) FROM listed").fetchone()[0]
        return count

    def _listed(self, image: str) -> ListedImage | None:
        found = self._database.execute(
            "SELECT label, split, grouped, row FROM listed WHERE path = ?", (path_order(image),)
        ).fetchone()
        return ListedImage(*found) if found else None
