"""What is known of each image of a version while it is made or verified, in a temporary database.

So any number of images takes the same memory; on disk each takes about a kilobyte. Texts are in the order of their code
points, as Python has it: SQLite compares the bytes of UTF-8, whose order is the same.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, NamedTuple

from lib.images.shards import Found, Row
from lib.images.sides import side_of, splits_given
from lib.images.source_images import SourceImage
from lib.lineage.digests import digest_long_json
from lib.lineage.steps import SPLITS
from lib.temporary import temporary_database

FOUND = "sha256, pixels, channels, conversions"
SCHEMA = (
    f"CREATE TABLE known ({FOUND})",  # of the newest version
    f"CREATE TABLE kept (place, class, given, grouped, start, size, {FOUND})",  # as it was read
    "CREATE TABLE unreadable (place, reason)",
    "CREATE TABLE classes (class PRIMARY KEY, label) WITHOUT ROWID",
    f"CREATE TABLE stored (place, class, label, split, grouped, start, size, {FOUND})",  # in its order
)
KEPT_IN_ORDER = f"""
    SELECT place, class, label, given, grouped, start, size, {FOUND} FROM kept CROSS JOIN classes USING (class)
    ORDER BY pixels, sha256, label, place, kept.rowid
"""
COLLECTED = """
    SELECT sha256, class, split, grouped FROM stored
    ORDER BY sha256, class, split, coalesce(grouped, ''), rowid
"""


class Waiting(NamedTuple):
    """A row whose bytes lie elsewhere: where they begin, and how many they are."""

    row: Row
    start: int
    size: int


class Collected:
    """The images of a version. Those of a source go in by `keep` and `refuse`, then `put_in_order`; or by `store`."""

    def __init__(self) -> None:
        self._database = temporary_database()
        for statement in SCHEMA:
            self._database.execute(statement)
        self.kept = 0
        """How many `keep` has added."""

    def __enter__(self) -> "Collected":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._database.close()

    def know(self, found: Iterable[Found]) -> None:
        """Let `known` find these, once: after it no more are to come."""
        self._database.executemany("INSERT INTO known VALUES (?, ?, ?, ?)", map(_values, found))
        self._database.execute("CREATE INDEX known_by_file ON known (sha256)")

    def known(self, sha256: str) -> Found | None:
        """What is known of the file with this digest."""
        found = self._database.execute(f"SELECT {FOUND} FROM known WHERE sha256 = ?", (sha256,)).fetchone()
        return _found(found) if found else None

    def keep(self, image: SourceImage, found: Found, start: int, size: int) -> None:
        """Add an image that can be read, and where its bytes wait."""
        place, label, split, group = image[:4]
        self._database.execute(
            "INSERT INTO kept VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (place, label, split, group, start, size, *_values(found)),
        )
        self.kept += 1

    def refuse(self, unreadable: Iterable[tuple[str, str]]) -> None:
        """Add place and reason of each that cannot be read."""
        self._database.executemany("INSERT INTO unreadable VALUES (?, ?)", unreadable)

    def unreadable(self) -> Iterator[tuple[str, str]]:
        """Place and reason of each, sorted."""
        return self._database.execute("SELECT place, reason FROM unreadable ORDER BY place, reason")

    def count_unreadable(self) -> int:
        return self._number("SELECT count(*) FROM unreadable")

    def classes(self) -> set[str]:
        """The names of all that have an image."""
        return {name for (name,) in self._database.execute("SELECT DISTINCT class FROM kept")}

    def put_in_order(self, class_names: list[str]) -> None:
        """Make rows of what was kept, each with its label and its split, in the order in which they are stored."""
        numbers = ((name, label) for label, name in enumerate(class_names))
        self._database.executemany("INSERT INTO classes VALUES (?, ?)", numbers)
        given = splits_given(each for (each,) in self._database.execute("SELECT DISTINCT given FROM kept"))

        def rows() -> Iterator[tuple[Any, ...]]:
            for place, name, label, split, group, *others in self._database.execute(KEPT_IN_ORDER):
                pixels = others[3]
                yield place, name, label, side_of(group or pixels, split, given), group, *others

        self._store(rows())

    def store(self, rows: Iterable[Row], class_names: list[str]) -> None:
        """Add rows in their order, without their bytes."""
        self._store((r.place, class_names[r.label], r.label, r.split, r.group, 0, 0, *_values(r.found)) for r in rows)

    def _store(self, rows: Iterable[tuple[Any, ...]]) -> None:
        self._database.executemany("INSERT INTO stored VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def stored(self) -> Iterator[Waiting]:
        """The rows, in their order."""
        columns = f"place, label, split, grouped, start, size, {FOUND}"
        for place, label, split, group, start, size, *found in self._database.execute(
            f"SELECT {columns} FROM stored ORDER BY rowid"
        ):
            yield Waiting(Row(b"", place, label, split, group, _found(found)), start, size)

    def splits(self) -> dict[str, int]:
        """How many rows each has."""
        found = dict(self._database.execute("SELECT split, count(*) FROM stored GROUP BY split"))
        return {split: found.get(split, 0) for split in SPLITS}

    def count_classes_of_train(self) -> int:
        return self._number("SELECT count(DISTINCT label) FROM stored WHERE split = 'train'")

    def digest(self, class_names: list[str]) -> str:
        """What makes a version another: file, class, split and group of each; not where it lies, nor since when.

        Of the names too: their order says which number each label is.
        """
        return digest_long_json({"images": self._database.execute(COLLECTED), "class_names": class_names})

    def facts(self, name: str, class_names: list[str]) -> dict[str, Any]:
        """What the manifest of the dataset `name` says of the rows."""
        conversions = Counter[str]()
        for texts, count in self._database.execute("SELECT conversions, count(*) FROM stored GROUP BY conversions"):
            for each in json.loads(texts):
                conversions[each] += count
        return {
            "dataset": name,
            "rows": self.splits(),
            "class_names": class_names,
            "channels": self._number("SELECT max(channels) FROM stored"),
            "classes_without_training": self._number("SELECT count(DISTINCT label) FROM stored")
            - self.count_classes_of_train(),
            "conversions": dict(sorted(conversions.items())),
        }

    def _number(self, query: str) -> int:
        number: int = self._database.execute(query).fetchone()[0]
        return number


def _values(found: Found) -> tuple[str, str, int, str]:
    return found.sha256, found.pixels, found.channels, json.dumps(found.conversions)


def _found(values: Any) -> Found:
    sha256, pixels, channels, conversions = values
    return Found(sha256, pixels, channels, tuple(json.loads(conversions)))
