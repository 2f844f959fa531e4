"""The images to be predicted: where they lie, and how they are decoded, in processes of their own, ahead of a model."""

import hashlib
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lib.errors import PermanentError
from lib.images.decoding import Unreadable
from lib.images.decoding_process import decode_all
from lib.images.reading import bytes_of
from lib.images.source_files import OPTION, Refused
from lib.images.source_files import RULE as RULE_OF_SOURCES
from lib.images.sources import open_source
from lib.images.unlabelled import Item, Unlabelled, find_unlabelled

NAMED = "--input"
"""What ingest asks for by OPTION."""
RULE = RULE_OF_SOURCES.replace(OPTION, NAMED)
CHUNK_BYTES = 16_000_000
MOST_CHUNK_ROWS = 250
"""What a model is given at once. Larger batches were not faster on a CPU, and take memory."""
CHUNKS_AHEAD = 2
POLL_S = 0.1
Thing = TypeVar("Thing")


class InputSource(BaseModel):
    """Images to be predicted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str = Field(description="A folder, a Parquet, CSV or JSONL file, or an s3:// address of one, with images")
    image_column: str | None = Field(None, description="Column of a table that has the images or their paths")


class InputRow(NamedTuple):
    """What is known of an image before a model sees it."""

    path: str
    sha256: str | None
    """Of its file; None where that could not be read."""
    reason: str | None
    """Why it cannot be read; None where it can."""
    width: int | None = None
    height: int | None = None
    mode: str | None = None


class Chunk(NamedTuple):
    """Some images in their order."""

    rows: list[InputRow]
    pixels: np.ndarray
    """(n, H, W, C) uint8 of those that can be read."""


def open_input(source: InputSource, cache_dir: Path) -> Unlabelled:
    """The images of `source`, none of which is read. Raises PermanentError where there are none."""
    with _asked_for():
        return find_unlabelled(open_source(source.uri, cache_dir), source.image_column)


@contextmanager
def _asked_for() -> Iterator[None]:
    try:
        yield
    except PermanentError as error:
        raise type(error)(str(error).replace(OPTION, NAMED)) from error


def read_chunks(items: Iterator[Item], shape: tuple[int, int, int], part_rows: int) -> Generator[Chunk, None, None]:
    """`items` decoded to images of `shape` (H, H, C), in chunks: the same each time, and whole in parts of
    `part_rows`.
    """
    chunk_rows = max(1, min(MOST_CHUNK_ROWS, part_rows, CHUNK_BYTES // (shape[0] * shape[1] * shape[2])))
    rows, pixels = list[InputRow](), list[np.ndarray]()
    for count, (row, picture) in enumerate(_decoded(items, shape[0], 1 if shape[2] == 1 else 3), 1):
        rows.append(row)
        if picture is not None:
            pixels.append(picture)
        if len(rows) == chunk_rows or count % part_rows == 0:
            yield Chunk(rows, _stacked(pixels, shape))
            rows, pixels = [], []
    if rows:
        yield Chunk(rows, _stacked(pixels, shape))


def _stacked(pixels: list[np.ndarray], shape: tuple[int, int, int]) -> np.ndarray:
    return np.stack(pixels) if pixels else np.empty((0, *shape), np.uint8)


def _decoded(
    items: Iterator[Item], px: int, channels: Literal[1, 3]
) -> Generator[tuple[InputRow, np.ndarray | None], None, None]:
    waiting = deque[InputRow]()  # those that cannot be read have their reason already

    def encoded() -> Iterator[bytes]:
        for item in items:
            if isinstance(item, Refused):
                waiting.append(InputRow(item.place, None, item.reason))
                continue
            try:
                data = bytes_of(item)
            except PermanentError as error:
                waiting.append(InputRow(item.place, None, str(error)))
                continue
            waiting.append(InputRow(item.place, hashlib.sha256(data).hexdigest(), None))
            yield data

    with closing(decode_all(encoded(), px, channels)) as pictures:
        for picture in pictures:
            while waiting[0].reason is not None:
                yield waiting.popleft(), None
            row = waiting.popleft()
            if isinstance(picture, Unreadable):
                yield row._replace(reason=str(picture)), None
            else:
                height, width = picture.size
                yield row._replace(width=width, height=height, mode=picture.mode), picture.pixels
        yield from ((row, None) for row in waiting)


def ahead(things: Generator[Thing, None, None], count: int = CHUNKS_AHEAD) -> Generator[Thing, None, None]:
    """`things`, made in a thread while those before are used; at most `count` of them wait.

    What making them raises is raised here.
    """
    queue, ended = Queue[Thing | _End](count), Event()

    def put(thing: Thing | _End) -> None:
        while not ended.is_set():
            with suppress(Full):
                queue.put(thing, timeout=POLL_S)
                break

    def make() -> None:
        error = None
        try:
            with closing(things):
                for each in things:
                    put(each)
                    if ended.is_set():
                        return
        except Exception as raised:
            error = raised
        put(_End(error))

    Thread(target=make, daemon=True).start()
    try:
        while True:
            try:
                thing = queue.get(timeout=POLL_S)  # an interrupt is not seen by a thread that waits without an end
            except Empty:
                continue
            if isinstance(thing, _End):
                if thing.error:
                    raise thing.error
                return
            yield thing
    finally:
        ended.set()


class _End(NamedTuple):
    error: Exception | None
