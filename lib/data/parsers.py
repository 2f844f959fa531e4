"""Publishers' files → arrays. Nothing is unpacked to disk or unpickled, and no more is read than the spec allows."""

import sys
import tarfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import prod
from pathlib import Path, PurePosixPath
from typing import Self

import numpy as np

from lib.data.datasets import OWN_IMAGES, DatasetSpec, SplitDigests
from lib.data.gunzip import BoundedGzip
from lib.errors import PermanentError
from lib.lineage.digests import digest_array, digest_blocks

OVERHEAD_BYTES = 1 << 20
"""Of an archive: headers and padding."""
MOST_MEMBERS = 1_000
DIGESTED_ROWS = 100
"""At a time."""
EXTENDED = {
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
}
IMAGE_TYPES = {0x08: "u1"}
LABEL_TYPES = {0x08: "u1", 0x0B: ">i2", 0x0C: ">i4"}
"""IDX's codes of integers. Pixels are bytes, labels may be wider."""


class Split(ABC):
    """One split as its publisher made it."""

    labels: np.ndarray  # (N,) int32
    coarse_labels: np.ndarray | None  # (N,) int32

    @abstractmethod
    def blocks(self, rows: int) -> Generator[np.ndarray, None, None]:
        """Its images, (n, H, W, C) uint8, `rows` at a time; the last block may have fewer."""

    def digests(self, images: str | None = None) -> SplitDigests:
        """What `DatasetSpec.digests` must say of this split; `images` is the digest of these where that is known."""
        return SplitDigests(
            images=images or digest_blocks(self.blocks(DIGESTED_ROWS)),
            labels=digest_labels(self.labels),
            coarse_labels=None if self.coarse_labels is None else digest_labels(self.coarse_labels),
        )


@dataclass(frozen=True)
class SourceSplit(Split):
    """A split in memory."""

    images: np.ndarray  # (N, H, W, C) uint8
    labels: np.ndarray
    coarse_labels: np.ndarray | None = None

    def blocks(self, rows: int) -> Generator[np.ndarray, None, None]:
        for first in range(0, len(self.images), rows):
            yield self.images[first : first + rows]


@dataclass(frozen=True)
class StreamedSplit(Split):
    """A split whose images are in memory only as they are asked for."""

    read: Callable[[], Generator[np.ndarray, None, None]]
    """Each of the images (H, W, C) uint8, from the first on."""
    labels: np.ndarray
    coarse_labels: np.ndarray | None = None

    def blocks(self, rows: int) -> Generator[np.ndarray, None, None]:
        with closing(self.read()) as images:
            while block := [*islice(images, rows)]:
                yield np.stack(block)


def digest_labels(labels: np.ndarray) -> str:
    """sha256 over labels (N,) of any integer type: as uint8, or as int32 where a label does not fit into that."""
    fits = not len(labels) or (labels.min() >= 0 and labels.max() <= 255)
    return digest_array(labels.astype(np.uint8 if fits else "<i4"))


Decoded = Mapping[str, Split]


def decode(spec: DatasetSpec, files: Mapping[str, Path]) -> Decoded:
    """Decode `files` (role → path) and check every pixel and label against the spec's digests.

    Raises PermanentError where a file is not what the spec says; what to do depends on where it came from.
    """
    if spec.format not in FORMATS:
        raise PermanentError(f"{spec.name}: unknown format {spec.format!r}; known: {', '.join(sorted(FORMATS))}")
    decoded = FORMATS[spec.format](spec, files)
    for split, found in decoded.items():
        if (expected := spec.digests.get(split)) is None:  # type: ignore[call-overload]
            continue
        received = found.digests()
        for field in SplitDigests.model_fields:
            if getattr(expected, field) != getattr(received, field):
                raise PermanentError(
                    f"{spec.name}: {split} {field} must have sha256 {getattr(expected, field)}; received "
                    f"{getattr(received, field)}"
                )
    return decoded


def decode_cifar100(spec: DatasetSpec, files: Mapping[str, Path]) -> Decoded:
    """The binary archive: records of coarse label, fine label and planar RGB, and two name files.

    Format: https://www.cs.toronto.edu/~kriz/cifar.html
    """
    height, width, channels = spec.image_shape
    record = 2 + height * width * channels
    sizes = {f"{split}.bin": rows * record for split, rows in spec.rows.items()}
    limits = {**sizes, "fine_label_names.txt": 10_000, "coarse_label_names.txt": 10_000}
    members = _read_tar(files["archive"], limits)
    for name, expected in (
        ("fine_label_names.txt", spec.class_names),
        ("coarse_label_names.txt", spec.superclass_names),
    ):
        received = tuple(members.pop(name).decode("utf-8", "replace").split())
        if received != expected:
            raise PermanentError(f"{name} must name {' '.join(expected)[:60]}…; received {' '.join(received)[:60]}…")
    decoded = {}
    for split, rows in spec.rows.items():
        raw = members.pop(f"{split}.bin")
        if len(raw) != rows * record:
            raise PermanentError(f"{split}.bin must have {rows * record:,} bytes; received {len(raw):,}")
        records = np.frombuffer(raw, np.uint8).reshape(rows, record)
        planar = records[:, 2:].reshape(rows, channels, height, width)
        decoded[str(split)] = SourceSplit(
            images=np.ascontiguousarray(planar.transpose(0, 2, 3, 1)),
            labels=records[:, 1].astype(np.int32),
            coarse_labels=records[:, 0].astype(np.int32),
        )
    return decoded


def decode_idx(spec: DatasetSpec, files: Mapping[str, Path]) -> Decoded:
    """Gzipped IDX files of images and labels. Format: http://yann.lecun.com/exdb/mnist"""
    return {
        str(split): SourceSplit(
            images=_read_idx(files[f"{split}-images"], (rows, *spec.image_shape[:2])).reshape(rows, *spec.image_shape),
            labels=_read_idx(files[f"{split}-labels"], (rows,), LABEL_TYPES).astype(np.int32),
        )
        for split, rows in spec.rows.items()
    }


def decode_digits(spec: DatasetSpec, files: Mapping[str, Path]) -> Decoded:
    """scikit-learn's own copy: 8×8 scans of 0 to 16, scaled to 0 to 255, each pixel enlarged to 4×4."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    scans, labels = load_digits(return_X_y=True)
    scaled = np.round(scans.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    images = scaled.repeat(4, axis=1).repeat(4, axis=2)[..., np.newaxis]
    rows = np.arange(len(labels))
    train, test = train_test_split(rows, test_size=spec.rows["test"], stratify=labels, random_state=spec.split_seed)
    return {
        split: SourceSplit(images=images[np.sort(chosen)], labels=labels[np.sort(chosen)].astype(np.int32))
        for split, chosen in (("train", train), ("test", test))
    }


def decode_own_images(spec: DatasetSpec, files: Mapping[str, Path]) -> dict[str, StreamedSplit]:
    """Shards of a person's images; those of validation are the last rows of train."""
    from lib.images import shards, squares  # with its libraries: other datasets need none of them

    paths = [files[name] for name in sorted(files)]
    validation = spec.validation_rows
    rows = {"train": spec.rows["train"] - validation, "validation": validation, "test": spec.rows["test"]}
    squares.check_rows(labels := shards.read_labels(paths), rows)
    _, px, channels = spec.image_shape

    def split(*sides: str) -> StreamedSplit:
        read = partial(squares.read_squares, paths, sides, px, 1 if channels == 1 else 3)
        return StreamedSplit(read, np.concatenate([labels[side] for side in sides]))

    return {"train": split("train", "validation"), "test": split("test")}


FORMATS: dict[str, Callable[[DatasetSpec, Mapping[str, Path]], Decoded]] = {
    "cifar100-binary": decode_cifar100,
    "idx": decode_idx,
    "sklearn-digits": decode_digits,
    OWN_IMAGES: decode_own_images,
}


def _read_tar(path: Path, limits: Mapping[str, int]) -> dict[str, bytes]:
    """The archive's regular files by base name: exactly those in `limits`, each once and at most that many bytes."""
    _check_gzip(path)
    found: dict[str, bytes] = {}
    try:
        # As a stream: tarfile then never goes back, whatever sizes the headers name.
        with (
            BoundedGzip(path, sum(limits.values()) + OVERHEAD_BYTES) as stream,
            tarfile.open(fileobj=stream, mode="r|", bufsize=OVERHEAD_BYTES, tarinfo=_Header) as archive,  # type: ignore[call-overload]
        ):
            for number, member in enumerate(archive):
                _check_member(path.name, member, limits, number)
                if member.isfile():
                    name = PurePosixPath(member.name).name
                    if name in found:
                        raise PermanentError(f"{path.name} must hold {name} once; received another: {member.name!r}")
                    content = archive.extractfile(member)
                    found[name] = content.read() if content else b""
    except (tarfile.TarError, EOFError, OSError, ValueError, RecursionError, OverflowError, zlib.error) as error:
        raise PermanentError(f"{path.name} must be a whole tar.gz; received a damaged one: {error}") from error
    missing = sorted(set(limits) - set(found))
    if missing:
        raise PermanentError(f"{path.name} must hold {', '.join(sorted(limits))}; missing: {', '.join(missing)}")
    return found


class _Header(tarfile.TarInfo):
    """tarfile reads extended headers whole, before it says that there is one."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        most = OVERHEAD_BYTES if found.type in EXTENDED else sys.maxsize
        if not 0 <= found.size <= most:
            raise tarfile.ReadError(f"a header promises {found.size} bytes")
        return found


def _check_member(archive: str, member: tarfile.TarInfo, limits: Mapping[str, int], number: int) -> None:
    name, shown = PurePosixPath(member.name), f"{member.name[:200]!r}"
    plain = (member.isfile() and not member.issparse()) or member.isdir()
    if name.is_absolute() or ".." in name.parts or not plain:
        raise PermanentError(f"{archive} must hold plain files inside its own folder; received member {shown}")
    if member.isfile() and not 0 <= member.size <= limits.get(name.name, 0):
        raise PermanentError(
            f"{archive}: member {shown} may have {limits.get(name.name, 0):,} bytes; "
            f"its header promises {member.size:,}"
        )
    if number >= MOST_MEMBERS:
        raise PermanentError(f"{archive} must hold at most {MOST_MEMBERS:,} members; received more")


def _read_idx(path: Path, shape: tuple[int, ...], types: Mapping[int, str] = IMAGE_TYPES) -> np.ndarray:
    """The array in a gzipped IDX file, which must have `shape` and one of `types`."""
    _check_gzip(path)
    header = 4 + 4 * len(shape)
    try:
        with BoundedGzip(path, header + prod(shape) * 4 + 1) as stream:
            head = stream.read(header)
            if head[:4] not in {bytes((0, 0, code, len(shape))) for code in types}:
                raise PermanentError(
                    f"{path.name} must be IDX of {'unsigned bytes' if len(types) == 1 else 'integers'} in "
                    f"{len(shape)} dimensions; received another kind"
                )
            promised = tuple(int.from_bytes(head[at : at + 4], "big") for at in range(4, header, 4))
            if promised != shape:
                raise PermanentError(f"{path.name} must hold {shape}; its header promises {promised}")
            dtype = np.dtype(types[head[2]])
            size = prod(shape) * dtype.itemsize
            body = stream.read(size + 1)
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise PermanentError(f"{path.name} must be a whole gzip file; received a damaged one: {error}") from error
    if len(body) != size:
        raise PermanentError(
            f"{path.name} must hold {size:,} bytes after its header; "
            f"received {'more' if len(body) > size else f'{len(body):,}'}"
        )
    return np.frombuffer(body, dtype).reshape(shape)


def _check_gzip(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(64)
    if start[:2] != b"\x1f\x8b":
        kind = "an HTML page" if start.lstrip()[:1] == b"<" else "another kind of file"
        raise PermanentError(f"{path.name} must be gzip; received {kind}")
