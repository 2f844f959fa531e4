"""What is known of a version's images lies on disk, in the order and with the facts that Python would work out."""

import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from lib.images.collect import collect, look
from lib.images.collected import Collected
from lib.images.shards import Found, Row
from lib.images.sides import side_of
from lib.images.source_images import SourceImage, Split
from lib.lineage.digests import digest_json
from lib.settings import REPOSITORY
from lib.store import LocalStore
from tests.lib.data.own_images import source, write_folder

LABELS = ["10", "9", "Z", "a", "é", "\uffee", "\U0001f33b", "a b"]
CLASS_NAMES = sorted(LABELS, key=len)
GROUPS = [None, None, "g", "g\U0001f33b", "é"]
SPLITS: list[Split | None] = [None, "train", "test"]
CONVERSIONS = [(), (), ("palette",), ("palette", "alpha on white")]
Kept = tuple[SourceImage, Found]


def made(count: int) -> list[Kept]:
    """Images of which many have the same file, or other files with the same pixels."""
    chosen = random.Random(0)
    kept = []
    for number in range(count):
        pixels = f"{chosen.randrange(count // 3):03x}"
        found = Found(pixels + chosen.choice("ab"), pixels, chosen.choice([1, 3]), chosen.choice(CONVERSIONS))
        place = f"{chosen.choice(LABELS)}/{number}.png"
        image = SourceImage(place, chosen.choice(LABELS), chosen.choice(SPLITS), chosen.choice(GROUPS), partial(bytes))
        kept.append((image, found))
    return kept


@pytest.fixture
def images() -> Iterator[Collected]:
    with Collected() as images:
        yield images


def test_rows_digest_and_facts_are_those_of_the_same_images_in_memory(images: Collected) -> None:
    kept = made(600)
    for start, each in enumerate(kept):
        images.keep(*each, start, size=1)
    images.put_in_order(CLASS_NAMES)

    def row(image: SourceImage, found: Found) -> Row:
        side = side_of(image.group or found.pixels, image.split, frozenset({"train", "test"}))
        return Row(b"", image.place, CLASS_NAMES.index(image.label), side, image.group, found)

    rows = [(row(*each), start) for start, each in enumerate(kept)]
    rows.sort(key=lambda each: (each[0].found.pixels, each[0].found.sha256, each[0].label, each[0].place))
    assert [(each.row, each.start) for each in images.stored()] == rows

    listed = [(row.found.sha256, CLASS_NAMES[row.label], row.split, row.group) for row, _ in rows]
    listed.sort(key=lambda each: (*each[:3], each[3] or ""))
    assert images.digest(CLASS_NAMES) == digest_json({"images": listed, "class_names": CLASS_NAMES})

    splits = [row.split for row, _ in rows]
    said = [each for row, _ in rows for each in row.found.conversions]
    assert images.facts("own", CLASS_NAMES) == {
        "dataset": "own",
        "rows": {split: splits.count(split) for split in ("train", "validation", "test")},
        "class_names": CLASS_NAMES,
        "channels": 3,
        "classes_without_training": 0,
        "conversions": {each: said.count(each) for each in ("alpha on white", "palette")},
    }


def test_a_class_without_an_image_in_train_is_counted(images: Collected) -> None:
    grey = Found("a", "b", 1, ())
    rows = [
        Row(b"", "1", 0, "test", None, grey),
        Row(b"", "2", 1, "train", None, grey),
        Row(b"", "3", 1, "test", "g", grey),
    ]
    images.store(iter(rows), ["x", "y"])
    facts = images.facts("own", ["x", "y"])
    assert (facts["classes_without_training"], facts["channels"]) == (1, 1)
    assert facts["rows"] == {"train": 1, "validation": 0, "test": 2}


def test_what_the_newest_version_knows_is_found_by_the_file(images: Collected) -> None:
    found = [Found(f"file {n}", f"pixels {n}", 3, ("palette",) * (n % 3)) for n in range(5)]
    images.know(iter(found))
    assert [images.known(each.sha256) for each in found] == found
    assert images.known("file 5") is None


def test_what_cannot_be_read_is_sorted_by_its_place(images: Collected) -> None:
    images.refuse([("\U0001f33b", "b"), ("\uffee", "b"), ("a", "z")])
    images.refuse(iter([("a", "y")]))
    assert list(images.unreadable()) == [("a", "y"), ("a", "z"), ("\uffee", "b"), ("\U0001f33b", "b")]
    assert images.count_unreadable() == 4


@pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError])
def test_what_ends_the_rows_is_not_taken_for_an_error_of_the_database(
    images: Collected, kind: type[BaseException]
) -> None:
    def rows() -> Iterator[Row]:
        yield Row(b"", "1", 0, "test", None, Found("a", "b", 1, ()))
        raise kind("as it came")

    with pytest.raises(kind, match="as it came"):
        images.store(rows(), ["x"])


def test_a_ctrl_c_while_images_are_read_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

    def interrupted(count: int) -> None:
        if count == 3:
            signal.raise_signal(signal.SIGINT)

    own, store = source(write_folder(tmp_path / "own", 3)), LocalStore(tmp_path / "store")
    with pytest.raises(KeyboardInterrupt):
        collect(own, look(own, tmp_path / "cache"), store, None, interrupted)
    assert [*(tmp_path / "temporary").iterdir()] == store.list("images") == []


GROWTH = """
from pathlib import Path
from lib import temporary
temporary.CACHE_KIB = 1_024
from lib.images.collected import Collected
from lib.images.shards import Found
from lib.images.source_images import SourceImage

def peak(count):
    with Collected() as images:
        for number in range(count):
            found = Found(f"{hash(number * 7):064x}", f"{hash(number * 13):064x}", 3, ("palette",))
            images.keep(SourceImage(f"cat/{number}.png", str(number % 9), None, None, bytes), found, number, 1)
        images.put_in_order([str(number) for number in range(9)])
        assert len(images.digest(["x"])) == 64
        assert sum(1 for _ in images.stored()) == sum(images.splits().values()) == count
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmHWM:"))

print(peak(3_000), peak(30_000))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what a process's highest memory was")
def test_ten_times_the_images_take_the_same_memory() -> None:
    done = subprocess.run([sys.executable, "-c", GROWTH], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    few, many = map(int, done.stdout.split())
    assert many - few < 6_000, "kB; as objects of Python they would be 30,000"
