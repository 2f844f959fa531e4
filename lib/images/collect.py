"""A person's images → the step `images`: each as it was encoded, in Parquet shards, and which split it is in.

Rows lie in the order of a digest of their pixels: at random as to class, and the same however they were listed. What is
known of them lies in a database while it is made, and their bytes in a file: memory does not grow with their number,
but for what their layout keeps (`lib.images.layouts`).
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from lib.errors import PermanentError, shortened
from lib.images.collected import Collected
from lib.images.decoding import Unreadable
from lib.images.decoding_process import decode_all
from lib.images.layouts import Columns, Layout, find_layout
from lib.images.own_source import OwnSource
from lib.images.reading import found_in, read_images
from lib.images.shards import (
    SHARD,
    Row,
    read_found,
    read_shards,
    read_unreadable,
    write_shards,
    write_unreadable,
)
from lib.images.sources import open_source
from lib.lineage.manifests import Manifest, Ref, commit, find, load, local_file, put_file
from lib.lineage.provenance import made_by
from lib.lineage.steps import SPLITS, STEPS
from lib.lineage.verify import Recomputed, check_address, must_equal
from lib.store import Store
from lib.temporary import temporary_folder

SHOWN = 3
Progress = Callable[[int], None]
"""Called with how many images have been read."""


def look(source: OwnSource, cache_dir: Path) -> Layout:
    """What lies at `source`, before any image is read. Raises PermanentError where that is none of our layouts."""
    columns = Columns(source.image_column, source.label_column, source.group_column)
    return find_layout(open_source(source.uri, cache_dir), columns)


def collect(source: OwnSource, layout: Layout, store: Store, newest: Ref | None, progress: Progress) -> Ref:
    """Commit the images that lie at `source` now, unless they are there: all that `newest` has need no decoding.

    `layout` is what `look` found. Raises PermanentError where there is nothing to train on, or where too many files
    cannot be read.
    """
    started = time.monotonic()
    with temporary_folder() as folder, (folder / "images").open("w+b") as spool, Collected() as images:
        images.know(read_found(_shards_known(store, newest)))
        read_images(layout.images(), spool, images, progress)
        images.refuse(layout.refused)
        _check(source, images)
        class_names = _class_names(images, layout)
        images.put_in_order(class_names)
        _check_splits(source, images)
        digest = images.digest(class_names)
        address = STEPS["images"].address(dataset_name=source.name, collected=digest)
        if done := find(store, address):
            return done[0]
        tables = [
            *write_shards(folder, _with_bytes(images, spool.fileno()), class_names),
            write_unreadable(folder, images.unreadable()),
        ]
        stated = {"source": source.uri, "layout": layout.description, "unreadable": images.count_unreadable()}
        manifest = Manifest(
            kind="images",
            inputs={},
            facts={**images.facts(source.name, class_names), **stated},
            content={"images": digest},
            files={path.stem: put_file(store, address, path.name, path) for path in tables},
            made_by=made_by(time.monotonic() - started),
        )
        return commit(store, address, manifest)


def images_of(store: Store, images: Manifest) -> Iterator[Row]:
    """The rows of an output of this step, in their order."""
    return read_shards(_shards(store, images))


def recompute(store: Store, address: str, manifest: Manifest) -> Recomputed:
    """For verify: what the shards hold, every image decoded anew. Where they came from cannot be looked up again."""
    name, class_names = manifest.facts["dataset"], manifest.facts["class_names"]
    with Collected() as images:
        images.store(_checked(images_of(store, manifest), address), class_names)
        digest = images.digest(class_names)
        check_address("images", address, dataset_name=name, collected=digest)
        unreadable = sum(1 for _ in read_unreadable(local_file(store, manifest, "unreadable")))
        stated = {name: manifest.facts[name] for name in ("source", "layout")}
        return Recomputed(
            inputs=frozenset(),
            facts={**images.facts(name, class_names), **stated, "unreadable": unreadable},
            content={"images": digest},
            files={name: f"{name}.parquet" for name in manifest.files},
        )


def _checked(rows: Iterator[Row], address: str) -> Iterator[Row]:
    """`rows`, each decoded anew. Raises PermanentError where one is not what it is said to be."""
    waiting = deque[Row]()

    def encoded() -> Iterator[bytes]:
        for row in rows:
            waiting.append(row)
            yield row.image

    for picture in decode_all(encoded(), None, None):
        row = waiting.popleft()
        if isinstance(picture, Unreadable):
            raise PermanentError(f"{address}: {shortened(row.place)} cannot be read: {picture}")
        if (found := found_in(row.image, picture)) != row.found:
            must_equal(address, f"what is known of {row.place}", found, row.found)
        yield row


def _with_bytes(images: Collected, spool: int) -> Iterator[Row]:
    for row, start, size in images.stored():
        yield row._replace(image=os.pread(spool, size, start))


def _shards(store: Store, images: Manifest) -> list[Path]:
    return [local_file(store, images, name) for name in sorted(images.files) if name.startswith(SHARD)]


def _shards_known(store: Store, newest: Ref | None) -> list[Path]:
    """Those of `newest`; none where it is gone: it only saves decoding."""
    try:
        return _shards(store, load(store, newest)) if newest else []
    except PermanentError:
        return []


def _check(source: OwnSource, images: Collected) -> None:
    """Raise PermanentError where there are too few images, or too many that cannot be read."""
    unreadable = images.count_unreadable()
    files = images.kept + unreadable
    if unreadable > source.max_bad * files:
        first = "; ".join(f"{shortened(place)}: {reason}" for place, reason in islice(images.unreadable(), SHOWN))
        raise PermanentError(
            f"at most {source.max_bad:.0%} of the files may be unreadable (--max-bad); received {unreadable:,} of "
            f"{files:,}: {first}{'; …' if unreadable > SHOWN else ''}"
        )
    if len(classes := images.classes()) < 2:
        received = f"only {shortened(repr(classes.pop()))}" if classes else "no image"
        raise PermanentError(f"a dataset must have images of at least two classes; {source.uri} has {received}")


def _check_splits(source: OwnSource, images: Collected) -> None:
    if images.count_classes_of_train() == 1:
        raise PermanentError(
            f"train must have images of at least two classes; all others of {source.uri} are in validation and test; "
            "add images, or move some to train"
        )
    sides = images.splits()
    if missing := [split for split in SPLITS if not sides[split]]:
        raise PermanentError(
            f"of {images.kept:,} images in {source.uri} none is in {' or '.join(missing)}: a tenth of all is taken for "
            "each of validation and test that the source does not name, by a digest of the image or its group; add "
            "images, or name all three: folders train, validation and test, or a column split"
        )


def _class_names(images: Collected, layout: Layout) -> list[str]:
    """Of all classes that have an image: as the source numbers them, and those that it does not, after these."""
    known = {name: number for number, name in enumerate(layout.class_names)}
    return sorted(images.classes(), key=lambda name: (known.get(name, len(known)), *_in_order(name)))


def _in_order(label: str) -> tuple[bool, int, str, str]:
    """Numbers before names, and by their size, however many figures they have."""
    figures = label.lstrip("0")
    return (False, len(figures), figures, label) if label.isascii() and label.isdecimal() else (True, 0, "", label)
