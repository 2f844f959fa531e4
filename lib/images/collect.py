"""A person's images → the step `images`: each as it was encoded, in Parquet shards, and which split it is in.

Rows lie in the order of a digest of their pixels: at random as to class, and the same however they were listed.
"""

import hashlib
import io
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from lib.errors import PermanentError, shortened
from lib.images.decoding import Picture, Unreadable, pixel_digest
from lib.images.decoding_process import decode_all
from lib.images.layouts import Columns, Layout, SourceImage, find_layout
from lib.images.own_source import OwnSource
from lib.images.shards import (
    SHARD,
    Found,
    Row,
    read_found,
    read_shards,
    read_unreadable,
    write_shards,
    write_unreadable,
)
from lib.images.sides import side_of, splits_given
from lib.images.sources import open_source
from lib.lineage.digests import digest_json
from lib.lineage.manifests import Manifest, Ref, commit, find, load, local_file, put_file
from lib.lineage.provenance import made_by
from lib.lineage.steps import SPLITS, STEPS
from lib.lineage.verify import Recomputed, check_address, must_equal
from lib.store import Store
from lib.temporary import temporary_folder

SHOWN = 3
Progress = Callable[[int], None]
"""Called with how many images have been read."""
Collected = list[tuple[str, str, str, str | None]]
"""Of each image the sha256 of its file, class, split and group."""


class Kept(NamedTuple):
    """An image that can be read, and where its bytes wait."""

    image: SourceImage
    found: Found
    begin: int
    size: int


class Reading(NamedTuple):
    """All that a source has."""

    kept: list[Kept]
    unreadable: list[tuple[str, str]]
    """Place and reason."""


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
    with temporary_folder() as folder, (folder / "images").open("w+b") as spool:
        reading = _read(layout.images(), spool, _known(store, newest), progress)
        unreadable = sorted([*reading.unreadable, *((each.place, each.reason) for each in layout.refused)])
        _check(source, reading, unreadable)
        class_names = _class_names(reading.kept, layout)
        rows = _rows(reading.kept, class_names)
        _check_splits(source, [row for row, _ in rows])
        collected = _collected([row for row, _ in rows], class_names)
        address = STEPS["images"].address(**_key_values(source.name, collected, class_names))
        if done := find(store, address):
            return done[0]
        whole = (row._replace(image=_spooled(spool, kept)) for row, kept in rows)
        tables = [*write_shards(folder, whole, class_names), write_unreadable(folder, unreadable)]
        stated = {"source": source.uri, "layout": layout.description, "unreadable": len(unreadable)}
        manifest = Manifest(
            kind="images",
            inputs={},
            facts={**_facts(source.name, [row for row, _ in rows], class_names), **stated},
            content={"images": _digest(collected, class_names)},
            files={path.stem: put_file(store, address, path.name, path) for path in tables},
            made_by=made_by(time.monotonic() - started),
        )
        return commit(store, address, manifest)


def images_of(store: Store, images: Manifest) -> Iterator[Row]:
    """The rows of an output of this step, in their order."""
    return read_shards(_shards(store, images))


def recompute(store: Store, address: str, manifest: Manifest) -> Recomputed:
    """For verify: what the shards hold, every image decoded anew. Where they came from cannot be looked up again."""
    class_names = manifest.facts["class_names"]
    rows = list[Row]()
    pictures = decode_all((row.image for row in images_of(store, manifest)), None, None)
    for row, picture in zip(images_of(store, manifest), pictures, strict=True):
        if isinstance(picture, Unreadable):
            raise PermanentError(f"{address}: {shortened(row.place)} cannot be read: {picture}")
        must_equal(address, f"what is known of {row.place}", _found(row.image, picture), row.found)
        rows.append(row._replace(image=b""))
    collected = _collected(rows, class_names)
    check_address("images", address, **_key_values(manifest.facts["dataset"], collected, class_names))
    unreadable = read_unreadable(local_file(store, manifest, "unreadable"))
    stated = {name: manifest.facts[name] for name in ("source", "layout")}
    return Recomputed(
        inputs=frozenset(),
        facts={**_facts(manifest.facts["dataset"], rows, class_names), **stated, "unreadable": len(unreadable)},
        content={"images": _digest(collected, class_names)},
        files={name: f"{name}.parquet" for name in manifest.files},
    )


def _read(images: Iterator[SourceImage], spool: Any, known: dict[str, Found], progress: Progress) -> Reading:
    """Read and decode each image once; its bytes go to `spool`."""
    kept: list[Kept] = []
    unreadable: list[tuple[str, str]] = []
    waiting: deque[tuple[SourceImage, str, int, int]] = deque()

    def unknown() -> Iterator[bytes]:
        for image in images:
            try:
                data = _bytes_of(image)
            except PermanentError as error:
                unreadable.append((image.place, str(error)))
                continue
            sha256, begin = hashlib.sha256(data).hexdigest(), spool.tell()
            spool.write(data)
            if found := known.get(sha256):
                kept.append(Kept(image, found, begin, len(data)))
                progress(len(kept))
            else:
                waiting.append((image, sha256, begin, len(data)))
                yield data

    for picture in decode_all(unknown(), None, None):
        image, sha256, begin, size = waiting.popleft()
        if isinstance(picture, Unreadable):
            unreadable.append((image.place, str(picture)))
        else:
            kept.append(Kept(image, _found_of(sha256, picture), begin, size))
            progress(len(kept))
    return Reading(kept, unreadable)


def _bytes_of(image: SourceImage) -> bytes:
    """The image as it is encoded; what has none is encoded here, without loss."""
    if image.pixels is None:
        return image.read()
    stream = io.BytesIO()
    pixels = image.pixels[..., 0] if image.pixels.shape[-1] == 1 else image.pixels
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "png")
    return stream.getvalue()


def _found(data: bytes, picture: Picture) -> Found:
    return _found_of(hashlib.sha256(data).hexdigest(), picture)


def _found_of(sha256: str, picture: Picture) -> Found:
    return Found(sha256, pixel_digest(picture), picture.pixels.shape[-1], tuple(picture.conversions))


def _known(store: Store, newest: Ref | None) -> dict[str, Found]:
    """What the newest version knows, by the sha256 of the file."""
    if newest is None:
        return {}
    return {found.sha256: found for found in read_found(_shards(store, load(store, newest)))}


def _shards(store: Store, images: Manifest) -> list[Path]:
    return [local_file(store, images, name) for name in sorted(images.files) if name.startswith(SHARD)]


def _check(source: OwnSource, reading: Reading, unreadable: list[tuple[str, str]]) -> None:
    """Raise PermanentError where there are too few images, or too many that cannot be read."""
    files = len(reading.kept) + len(unreadable)
    if len(unreadable) > source.max_bad * files:
        first = "; ".join(f"{shortened(place)}: {reason}" for place, reason in unreadable[:SHOWN])
        raise PermanentError(
            f"at most {source.max_bad:.0%} of the files may be unreadable (--max-bad); received {len(unreadable):,} of "
            f"{files:,}: {first}{'; …' if len(unreadable) > SHOWN else ''}"
        )
    if len(classes := {each.image.label for each in reading.kept}) < 2:
        received = f"only {shortened(repr(classes.pop()))}" if classes else "no image"
        raise PermanentError(f"a dataset must have images of at least two classes; {source.uri} has {received}")


def _check_splits(source: OwnSource, rows: list[Row]) -> None:
    sides = Counter(row.split for row in rows)
    if missing := [split for split in SPLITS if not sides[split]]:
        raise PermanentError(
            f"of {len(rows):,} images in {source.uri} none is in {' or '.join(missing)}: a tenth of all is taken for "
            "each of validation and test, by a digest of the image or its group; add images, or folders train and test"
        )


def _class_names(kept: list[Kept], layout: Layout) -> list[str]:
    """Of all classes that have an image: as the source numbers them, and those that it does not, after these."""
    known = {name: number for number, name in enumerate(layout.class_names)}
    return sorted({each.image.label for each in kept}, key=lambda name: (known.get(name, len(known)), *_in_order(name)))


def _in_order(label: str) -> tuple[bool, int, str, str]:
    """Numbers before names, and by their size, however many figures they have."""
    figures = label.lstrip("0")
    return (False, len(figures), figures, label) if label.isascii() and label.isdecimal() else (True, 0, "", label)


def _rows(kept: list[Kept], class_names: list[str]) -> list[tuple[Row, Kept]]:
    """Each image's row, without its bytes, in the order in which they are stored."""
    number = {name: label for label, name in enumerate(class_names)}
    given = splits_given(each.image.split for each in kept)
    rows = []
    for each in kept:
        place, label, split, group = each.image.place, each.image.label, each.image.split, each.image.group
        side = side_of(group or each.found.pixels, split, given)
        rows.append((Row(b"", place, number[label], side, group, each.found), each))
    return sorted(rows, key=lambda both: (both[0].found.pixels, both[0].found.sha256, both[0].label, both[0].place))


def _spooled(spool: Any, kept: Kept) -> bytes:
    spool.seek(kept.begin)
    data: bytes = spool.read(kept.size)
    return data


def _collected(rows: list[Row], class_names: list[str]) -> Collected:
    """What makes a version another: not where a file lies, nor when it was written."""
    images = ((row.found.sha256, class_names[row.label], row.split, row.group) for row in rows)
    return sorted(images, key=lambda each: (*each[:3], each[3] or ""))


def _digest(collected: Collected, class_names: list[str]) -> str:
    """Of the names too: their order says which number each label is."""
    return digest_json({"images": collected, "class_names": class_names})


def _key_values(name: str, collected: Collected, class_names: list[str]) -> dict[str, Any]:
    return {"dataset_name": name, "collected": _digest(collected, class_names)}


def _facts(name: str, rows: list[Row], class_names: list[str]) -> dict[str, Any]:
    sides = Counter(row.split for row in rows)
    return {
        "dataset": name,
        "rows": {split: sides[split] for split in SPLITS},
        "class_names": class_names,
        "channels": max(row.found.channels for row in rows),
        "classes_without_training": len(
            {row.label for row in rows} - {row.label for row in rows if row.split == "train"}
        ),
        "conversions": dict(sorted(Counter(each for row in rows for each in row.found.conversions).items())),
    }
