"""What is stored of a person's images must not move: the values here were worked out by the code of commit 5c58df7."""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lib.images.collect import collect, images_of, look
from lib.images.own_source import OwnSource
from lib.images.shards import Row, read_unreadable
from lib.lineage.manifests import Manifest, Ref, load, local_file
from lib.lineage.verify import verify
from lib.store import LocalStore

LABELS = ("10", "9", "b", "é", "\U0001f33b", "\uffee")
"""By code points the last one is before the flower; by UTF-16 it would be after it."""


def ppm(number: int, comment: str = "", px: int = 4) -> bytes:
    """An image that no encoder writes, so that its bytes are the same with every version of one."""
    pixels = hashlib.sha256(str(number).encode()).digest() * (px * px * 3 // 32 + 1)
    return f"P6\n{comment}{px} {px}\n255\n".encode() + pixels[: px * px * 3]


def write_classes(folder: Path, count: int, labels: tuple[str, ...] = LABELS) -> None:
    for place, label in enumerate(labels):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            (folder / label / f"{number}.ppm").write_bytes(ppm(1_000 * place + number))


def class_folders(folder: Path) -> Path:
    """With equal pixels in other bytes, equal files of one class and of two, and files that are no images."""
    write_classes(folder, 12)
    for number in range(4):
        (folder / "b" / f"again {number}.ppm").write_bytes(ppm(number))
        (folder / "10" / f"again {number}.ppm").write_bytes(ppm(number))
        (folder / "9" / f"other bytes {number}.ppm").write_bytes(ppm(number, "# the same\n"))
    (folder / "10" / "grey.pgm").write_bytes(b"P5\n2 2\n65535\n" + bytes(range(8)))
    for name in ("z.txt", "a.txt", "é.txt"):
        (folder / "10" / name).write_text("no image")
    return folder


def folders_of_splits(folder: Path) -> Path:
    write_classes(folder / "train", 14)
    write_classes(folder / "test", 3, LABELS[::-1])
    return folder


def a_list(folder: Path) -> Path:
    """With groups, missing ones among them, a row that is refused and a file that is named twice."""
    write_classes(folder, 8)
    lines = ["path,label,patient"]
    for place, label in enumerate(LABELS):
        lines += [f"{label}/{n}.ppm,{LABELS[-1 - place]},{'' if n == 7 else f'p{n // 2}{label}'}" for n in range(8)]
    lines += ["./10/0.ppm,\uffee,p010", "10/gone.ppm,b,", "10/1.ppm/../2.ppm,,"]
    (folder / "list.csv").write_text("\n".join(lines), "utf-8")
    return folder / "list.csv"


def a_table(folder: Path) -> Path:
    """With names of classes, of which one has no image, splits, and rows that are refused."""
    folder.mkdir()
    count = 90
    names = json.dumps(["z", "y", "x", "w"])
    images = [None if n == 5 else ppm(n // 2) for n in range(count)]
    labels = [-1 if n == 8 else 9 if n == 11 else n % 3 for n in range(count)]
    splits = ["train" if n % 5 else "val" for n in range(count)]
    table = pa.table({"image": pa.array(images, pa.binary()), "label": labels, "split": splits})
    pq.write_table(table.replace_schema_metadata({"class_names": names}), folder / "x.parquet", row_group_size=7)
    return folder / "x.parquet"


def pixels(folder: Path, channels: int) -> Path:
    folder.mkdir()
    count = 80
    raw = np.random.default_rng(channels).integers(0, 255, (count, 5 * 6 * channels), np.uint8)
    raw[7] = raw[8]
    image = pa.array([each.tobytes() for each in raw], pa.binary(raw.shape[1]))
    table = pa.table(
        {"image": image, "label": [f"class {n % 4}" for n in range(count)], "scene": np.arange(count) // 3}
    )
    metadata = {"image_shape": json.dumps([5, 6, channels])}
    pq.write_table(table.replace_schema_metadata(metadata), folder / "x.parquet", row_group_size=9)
    return folder / "x.parquet"


def collected(own: OwnSource, store: LocalStore, newest: Ref | None = None) -> tuple[Ref, Manifest]:
    ref = collect(own, look(own, Path(store.uri) / "cache"), store, newest, lambda count: None)
    return ref, load(store, ref)


def source(place: Path, group: str | None = None) -> OwnSource:
    return OwnSource(name="own", uri=str(place), px=8, group_column=group, max_bad=0.1)


def of_all(values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def of_row(row: Row, encoded: bool) -> list[object]:
    """`encoded`: with what depends on the encoder."""
    files = [row.found.sha256, hashlib.sha256(row.image).hexdigest()] if encoded else []
    return [*files, row.place, row.label, row.split, row.group, *row.found[1:]]


FILES: dict[str, tuple[Callable[[Path], Path], str | None, list[str]]] = {
    "class folders": (
        class_folders,
        None,
        ["1eba9253c2f6521c", "fe3bcf19817592a0", "c0a5d485f65ff15d", "7c44e51ae9b8c207", "a372a509c426d958"],
    ),
    "folders of splits": (
        folders_of_splits,
        None,
        ["022a5cfdd6b22d0e", "d216100546742282", "ded2140dec8fde5a", "4f53cda18c2baa0c", "47d002fc052b3cf1"],
    ),
    "a list": (
        a_list,
        "patient",
        ["ae4d90e0b1f4505d", "d2dec5e6f97b3677", "a8c51f774b096786", "853dd4ea1abe4dae", "ed1f37f33c1e4dad"],
    ),
    "a table": (
        a_table,
        None,
        ["265bf95411beea78", "b26ef607b1fcf1ae", "a48b307aec33f5d9", "69f21769d079db59", "fd14e5b14b6aee19"],
    ),
}
"""What makes the source, its column of groups; then key, content, rows, what is unreadable, and facts."""


@pytest.mark.parametrize("name", FILES)
def test_address_content_order_and_facts_stay(tmp_path: Path, name: str) -> None:
    make, group, expected = FILES[name]
    own, store = source(make(tmp_path / "own"), group), LocalStore(tmp_path / "store")
    ref, images = collected(own, store)
    unreadable = read_unreadable(local_file(store, images, "unreadable"))
    found = [
        ref.uri.rpartition("/")[2],
        images.content["images"][:16],
        of_all([of_row(row, encoded=True) for row in images_of(store, images)]),
        of_all([[place, why.replace(str(tmp_path / "own"), "SOURCE")] for place, why in unreadable]),
        of_all({what: fact for what, fact in sorted(images.facts.items()) if what != "source"}),
    ]
    assert found == expected
    verify(store, ref.uri, lambda *_: None)
    assert collected(own, store, ref)[0] == ref


@pytest.mark.parametrize(
    ("channels", "expected"),
    [(1, "e3278aeebc9f9e98"), (2, "0ec11cef9ba42c42"), (3, "7b9c47e8a5a77fb7"), (4, "fc975d20dc556466")],
)
def test_pixels_are_stored_as_pillow_writes_them_in_an_order_that_stays(
    tmp_path: Path, channels: int, expected: str
) -> None:
    own, store = source(pixels(tmp_path / "own", channels), "scene"), LocalStore(tmp_path / "store")
    ref, images = collected(own, store)
    rows = list(images_of(store, images))
    assert of_all([of_row(row, encoded=False) for row in rows]) == expected
    raw = pq.read_table(tmp_path / "own" / "x.parquet")["image"].to_pylist()
    for row in rows:
        image = np.frombuffer(raw[int(row.place.removeprefix("x.parquet:row "))], np.uint8).reshape(5, 6, channels)
        stream = io.BytesIO()
        Image.fromarray(image.squeeze()).save(stream, "png")
        assert row.image == stream.getvalue()
    verify(store, ref.uri, lambda *_: None)
