"""Measure batch prediction: `python -m tests.benchmarks.prediction [COUNT [STORE DATASET]]`.

COUNT (100,000) files: JPEG of 640 × 427, 1 % of odd modes and formats, and 1 % that cannot be read. Images a processor
second of ours, from the listing to the manifest with its drift, beside a plain Keras loop on the same files (load_img,
predict), both in processes of their own, and the highest memory of each with all its processes. The model is that of
digits, trained for an epoch, or the best of DATASET in STORE, of which a copy is used. Generated photographs lie
below TMPDIR: 8 GB for 100,000.
"""

import io
import json
import resource
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from lib.lineage.manifests import load, local_file
from lib.prediction.choice import model_to_use
from lib.prediction.inputs import InputSource
from lib.settings import read_settings
from lib.store import LocalStore
from tests.benchmarks.decoding import photo
from tests.benchmarks.measuring import Measured, given, own_process, processor_seconds, show

COUNT, PHOTOS, EVERY, BATCH = 100_000, 100, 100, 250
MB = 1_000_000
PEER, OURS = "keras", "ours"


def odd(data: bytes) -> list[bytes]:
    """The photo `data` in modes and formats that come in folders now and then."""
    image = Image.open(io.BytesIO(data)).resize((320, 214))
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    kinds: list[tuple[Image.Image, str, dict[str, object]]] = [
        *((image.convert(mode), "png", {}) for mode in ("1", "L", "LA", "P", "RGBA")),
        *((image.convert(mode), "tiff", {}) for mode in ("CMYK", "LAB", "YCbCr")),
        (image.convert("L"), "jpeg", {}),
        (image.convert("CMYK"), "jpeg", {}),
        (image, "jpeg", {"exif": turned}),
        (image, "jpeg", {"progressive": True}),
        (image.convert("P"), "gif", {}),
        (image, "webp", {}),
        (image, "bmp", {}),
        (deep, "png", {}),
        (image.convert("L").convert("F"), "tiff", {}),
    ]
    return [_saved(*kind) for kind in kinds]


def _saved(image: Image.Image, kind: str, options: dict[str, object]) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def broken(data: bytes) -> list[bytes]:
    """What is left of the photo `data` where things go wrong."""
    return [b"", data[: len(data) // 2], data[:-30], b"<html>404</html>", data[:3] + bytes(2_000), bytes(5_000)]


def write_files(folder: Path, count: int) -> int:
    """Write `count` files; returns how many cannot be read."""
    photos = [photo(number) for number in range(min(PHOTOS, count))]
    odds, bads = odd(photos[0]), broken(photos[0])
    for number in range(count):
        path = folder / f"{number // 1_000:04d}" / f"{number:07d}.jpg"
        path.parent.mkdir(exist_ok=True)
        turn, place = divmod(number, EVERY)
        odd_or_bad = odds[turn % len(odds)] if place == 50 else bads[turn % len(bads)] if place == 99 else None
        path.write_bytes(photos[number % len(photos)] if odd_or_bad is None else odd_or_bad)
    return count // EVERY


@contextmanager
def highest_bytes() -> Iterator[Callable[[], int]]:
    """Resident memory of this process and all that it has started, at its highest; pages they share count for each."""
    own, seen, watching = psutil.Process(), [0], True

    def watch() -> None:
        while watching:
            total = 0
            for each in (own, *own.children(recursive=True)):
                try:
                    total += each.memory_info().rss
                except psutil.Error:  # it has ended
                    continue
            seen[0] = max(seen[0], total)
            time.sleep(0.05)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: seen[0]
    finally:
        watching = False
        watcher.join()


def measured(work: Callable[[], int]) -> dict[str, float]:
    """What `work`, which returns how many images it has predicted, takes."""
    whose, began = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN), time.monotonic()
    before = sum(map(processor_seconds, whose))
    with highest_bytes() as highest:
        predicted = work()
    spent = sum(map(processor_seconds, whose)) - before
    return {"predicted": predicted, "processor_s": spent, "s": time.monotonic() - began, "bytes": highest()}


def ours(folder: str, store_uri: str, dataset: str) -> int:
    from lib.prediction.batch import predict
    from lib.prediction.predictions import Asked
    from lib.training.devices import start_tensorflow

    start_tensorflow()
    store = LocalStore(Path(store_uri))
    source = InputSource(uri=folder)
    asked = Asked.of(store, model_to_use(store, dataset, None), source, 5, read_settings())
    facts = load(store, predict(store, asked, lambda event: None)).facts
    return int(facts["images"] - facts["unreadable"])


def plain_keras(folder: str, store_uri: str, dataset: str) -> int:
    import keras

    store = LocalStore(Path(store_uri))
    model = load(store, load(store, model_to_use(store, dataset, None)).inputs["model"])
    network = keras.saving.load_model(local_file(store, model, "model"))
    px, _, channels = network.input_shape[1:]
    found, images = list[np.ndarray](), list[np.ndarray]()
    for path in sorted(Path(folder).rglob("*.jpg")):
        try:
            image = keras.utils.load_img(path, "grayscale" if channels == 1 else "rgb", (px, px), "bilinear")
            images.append(keras.utils.img_to_array(image, dtype="uint8"))
        except Exception:  # whatever Pillow raises: a loop that somebody needs goes on
            continue
        if len(images) == BATCH:
            found.append(network.predict(np.stack(images), batch_size=BATCH, verbose=0))
            images = []
    if images:
        found.append(network.predict(np.stack(images), batch_size=BATCH, verbose=0))
    return sum(map(len, found))


def measure(count: int, store: Path, dataset: str) -> list[Measured]:
    with tempfile.TemporaryDirectory() as folder:
        images, copy = Path(folder, "images"), Path(folder, "store")
        images.mkdir()
        shutil.copytree(store, copy)
        bad = write_files(images, count)
        turns = {
            who: json.loads(own_process("tests.benchmarks.prediction", who, str(images), str(copy), dataset))
            for who in (PEER, OURS)
        }
    assert turns[OURS]["predicted"] == count - bad, turns
    rates = {who: count / turn["processor_s"] for who, turn in turns.items()}
    walls = {who: count / turn["s"] for who, turn in turns.items()}
    memory = {who: turn["bytes"] / MB for who, turn in turns.items()}
    what = f"{count:,} files, 1 % odd and 1 % bad, by a model of {dataset}"
    read = f"Keras reads {turns[PEER]['predicted']:,.0f}, ours {turns[OURS]['predicted']:,.0f}"
    return [
        Measured(what, f"{rates[OURS]:,.0f} images/processor s", f"{rates[PEER]:,.0f}", [rates[OURS] / rates[PEER]],
                 "≥ 1.5", read),
        Measured("the same by the clock", f"{walls[OURS]:,.0f} images/s", f"{walls[PEER]:,.0f}",
                 [walls[OURS] / walls[PEER]], ""),
        Measured("highest memory", f"{memory[OURS]:,.0f} MB", f"{memory[PEER]:,.0f} MB",
                 [memory[OURS] / memory[PEER]], "ours < 1,500 MB"),
    ]  # fmt: skip


def main(arguments: list[str]) -> None:
    works = {OURS: ours, PEER: plain_keras}
    if arguments and arguments[0] in works:
        work = works[arguments[0]]
        print(json.dumps(measured(lambda: work(*arguments[1:]))))
        return
    count = int(arguments[0]) if arguments else COUNT
    if len(arguments) > 1:
        show(measure(count, Path(arguments[1]), arguments[2]))
        return
    with tempfile.TemporaryDirectory() as store:
        own_process("flows.train", "--models", "digits-cnn", "--epochs", "1", "--store", store)
        show(measure(count, Path(store), "digits"))


if __name__ == "__main__":
    main(given(__doc__))
