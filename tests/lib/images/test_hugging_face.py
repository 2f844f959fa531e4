"""Hugging Face's `datasets` reads a person's images as this project does, and reads what this project stores."""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from lib.images.collect import collect, images_of, look
from lib.images.decoding import decode
from lib.lineage.manifests import Manifest, load, local_file
from lib.lineage.verify import verify
from lib.store import LocalStore
from tests.lib.data.own_images import source

with pytest.MonkeyPatch.context() as environment:  # it is read as they are imported
    environment.setenv("HF_HUB_OFFLINE", "1")
    environment.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed: make develop")

COUNT = 30
FILES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "colour.png": ("RGB", "png", {}),
    "grey.png": ("L", "png", {}),
    "palette.png": ("P", "png", {}),
    "bit.png": ("1", "png", {}),
    "deep.png": ("I;16", "png", {}),
    "still.gif": ("P", "gif", {}),
    "plain.bmp": ("RGB", "bmp", {}),
    "packed.tif": ("RGB", "tiff", {"compression": "tiff_lzw"}),
    "whole.webp": ("RGB", "webp", {"lossless": True}),
    "lossy.jpg": ("RGB", "jpeg", {}),
}
"""Mode, format and options of each kind of file."""


class Shown(NamedTuple):
    """One image and what is said of it."""

    pixels: tuple[tuple[int, ...], bytes]
    label: str
    split: str


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert datasets.config.HF_HUB_OFFLINE
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hugging-face")
    datasets.disable_progress_bars()


def encoded(kind: str, number: int) -> bytes:
    """An image of its own for each number, no two sides alike."""
    mode, file_format, options = FILES[kind]
    random, stream = np.random.default_rng(number), io.BytesIO()
    if mode == "I;16":
        image = Image.fromarray(random.integers(0, 65_536, (9, 7)).astype(np.uint16))
    else:
        image = Image.fromarray(random.integers(0, 256, (9, 7, 3)).astype(np.uint8)).convert(mode)
    image.save(stream, file_format, **options)
    return stream.getvalue()


def write(folder: Path, labels: Iterable[str], count: int = COUNT, first: int = 0) -> Path:
    """`count` images in a folder for each label, of all kinds in turn."""
    for place, label in enumerate(labels):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            kind = list(FILES)[number % len(FILES)]
            file = folder / label / f"{number}-{kind}"
            file.write_bytes(encoded(kind, first + place * count + number))
    return folder


def as_bytes(image: Image.Image) -> tuple[tuple[int, ...], bytes]:
    """What an image of Pillow shows: 8 bits, grey where its mode is."""
    if image.mode.startswith("I"):
        pixels = np.rint(np.asarray(image) / 257).astype(np.uint8)[..., None]
    else:
        pixels = np.asarray(image.convert("L" if image.mode in {"1", "L"} else "RGB"))
        pixels = pixels.reshape(*pixels.shape[:2], -1)
    return pixels.shape, pixels.tobytes()


def name_of(found: Any, value: Any) -> str:
    feature = found.features["label"]
    return str(feature.int2str(value)) if isinstance(feature, datasets.ClassLabel) else str(value)


def theirs(loaded: Any) -> Counter[Shown]:
    """What `load_dataset` gives."""
    return Counter(
        Shown(as_bytes(row["image"]), name_of(found, row["label"]), split)
        for split, found in loaded.items()
        for row in found
    )


def ours(place: Path, tmp_path: Path, **options: Any) -> tuple[LocalStore, Manifest]:
    """The images step, verified."""
    store, own = LocalStore(tmp_path / "store"), source(place, **options)
    ref = collect(own, look(own, tmp_path / "cache"), store, None, lambda count: None)
    verify(store, ref.uri, lambda uri, what: None)
    return store, load(store, ref)


def shown(store: LocalStore, images: Manifest) -> Iterator[Shown]:
    for row in images_of(store, images):
        pixels = decode(row.image, None, None).pixels
        yield Shown((pixels.shape, pixels.tobytes()), images.facts["class_names"][row.label], row.split)


def unsplit(found: Iterable[Shown]) -> Counter[Shown]:
    return Counter(each._replace(split="") for each in found)


def test_class_folders_are_the_same_images_labels_and_numbers(tmp_path: Path) -> None:
    folder = write(tmp_path / "own", ("zebra", "Ape", "äffchen", "ape"))
    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder))
    store, images = ours(folder, tmp_path)
    assert images.facts["unreadable"] == 0
    assert unsplit(shown(store, images)) == unsplit(theirs(loaded).elements())
    assert len(unsplit(shown(store, images))) == 4 * COUNT
    names = ["Ape", "ape", "zebra", "äffchen"]
    assert images.facts["class_names"] == names == loaded["train"].features["label"].names


def test_folders_of_numbers_are_numbered_by_their_size_and_not_by_their_digits(tmp_path: Path) -> None:
    folder = write(tmp_path / "own", ("10", "9", "1"))
    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder))
    store, images = ours(folder, tmp_path)
    assert unsplit(shown(store, images)) == unsplit(theirs(loaded).elements())
    assert images.facts["class_names"] == ["1", "9", "10"]
    assert loaded["train"].features["label"].names == ["1", "10", "9"]


def test_folders_of_splits_are_the_same_splits(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    write(folder / "train", ("cat", "dog"), 40)
    write(folder / "test", ("cat", "dog"), 10, first=1_000)
    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder))
    store, images = ours(folder, tmp_path)
    found = list(shown(store, images))
    whole = Counter(each._replace(split="train") if each.split == "validation" else each for each in found)
    assert whole == theirs(loaded)
    assert Counter(each.split for each in whole.elements()) == {"train": 80, "test": 20}
    assert images.facts["rows"]["validation"] > 0, "there is none, so some of train is taken for it"
    assert images.facts["class_names"] == loaded["train"].features["label"].names


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_a_list_of_files_and_labels_is_read_alike(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "own", ("images",), 60)
    labels = ["dog", "cat", "a, b"]
    files = sorted(path.name for path in (folder / "images").iterdir())
    rows = {f"images/{file}": labels[number % 3] for number, file in enumerate(files)}
    if name == "metadata.csv":
        text = "file_name,label\n" + "".join(f'{file},"{label}"\n' for file, label in rows.items())
    else:
        text = "".join(f'{{"file_name": "{file}", "label": "{label}"}}\n' for file, label in rows.items())
    (folder / name).write_text(text)
    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder))
    store, images = ours(folder, tmp_path)
    assert unsplit(shown(store, images)) == unsplit(theirs(loaded).elements())
    assert Counter(each.label for each in shown(store, images)) == dict.fromkeys(labels, 20)


def written(path: Path, names: list[str], labels: list[int], first: int = 0) -> None:
    """Parquet as `datasets` writes it, with the images in it."""
    kinds = list(FILES)
    images = [{"bytes": encoded(kinds[n % len(kinds)], first + n), "path": f"{n}"} for n in range(len(labels))]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict({"image": images, "label": labels}, features=features).to_parquet(path)


def test_parquet_that_it_writes_keeps_its_labels_their_numbers_and_its_splits(tmp_path: Path) -> None:
    folder, names = tmp_path / "own", ["zebra", "ape", "10", "9"]
    written(folder / "train-00000-of-00001.parquet", names, [3, 0, 1, 2] * 15)
    written(folder / "test-00000-of-00001.parquet", names, [0, 1, 2, 3] * 3, first=100)
    loaded = datasets.load_dataset("parquet", data_dir=str(folder))
    store, images = ours(folder, tmp_path)
    whole = (
        each._replace(split="train" if each.split == "validation" else each.split) for each in shown(store, images)
    )
    assert Counter(whole) == theirs(loaded)
    assert images.facts["class_names"] == names == loaded["train"].features["label"].names


def test_a_class_without_an_image_is_left_out_and_the_others_keep_their_order(tmp_path: Path) -> None:
    written(tmp_path / "own.parquet", ["zebra", "ape", "yak", "bee"], [3, 0, 2] * 20)
    _, images = ours(tmp_path / "own.parquet", tmp_path)
    assert images.facts["class_names"] == ["zebra", "yak", "bee"]


def test_other_numbers_of_the_same_classes_are_another_version(tmp_path: Path) -> None:
    numbers: list[Callable[[int], int]] = [lambda label: label, lambda label: 1 - label]
    found = []
    for names, number in zip((["ape", "bee"], ["bee", "ape"]), numbers, strict=True):
        written(tmp_path / "own.parquet", names, [number(each) for each in [0, 1] * 30])
        store, images = ours(tmp_path / "own.parquet", tmp_path)
        assert images.facts["class_names"] == names
        found.append((unsplit(shown(store, images)), images.content["images"]))
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]


def test_a_list_in_parquet_keeps_the_numbers_of_its_classes(tmp_path: Path) -> None:
    folder = write(tmp_path / "own", ("images",), 40)
    files = [f"images/{path.name}" for path in sorted((folder / "images").iterdir())]
    features = datasets.Features(
        {"file_name": datasets.Value("string"), "label": datasets.ClassLabel(names=["b", "a"])}
    )
    columns = {"file_name": files, "label": [0, 1] * 20}
    datasets.Dataset.from_dict(columns, features=features).to_parquet(folder / "metadata.parquet")
    store, images = ours(folder, tmp_path)
    assert images.facts["class_names"] == ["b", "a"]
    labels = {row.place: row.label for row in images_of(store, images)}
    assert labels == dict(zip(files, [0, 1] * 20, strict=True))


def test_it_opens_what_this_project_stores(tmp_path: Path) -> None:
    store, images = ours(write(tmp_path / "own", ("cat", "dog", "10", "9")), tmp_path)
    shards = [str(local_file(store, images, name)) for name in sorted(images.files) if name.startswith("shard-")]
    found = datasets.load_dataset("parquet", data_files=shards, split="train")
    assert isinstance(found.features["image"], datasets.Image)
    assert found.features["label"].names == images.facts["class_names"] == ["9", "10", "cat", "dog"]
    assert [
        Shown(as_bytes(row["image"]), found.features["label"].int2str(row["label"]), row["split"]) for row in found
    ] == list(shown(store, images))
    assert found["conversions"] == [list(row.found.conversions) for row in images_of(store, images)]
    assert found["sha256"] == [row.found.sha256 for row in images_of(store, images)]
