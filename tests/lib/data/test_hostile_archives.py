"""Archives and gzip files that are made to do harm are refused within seconds."""

import gzip
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.data.parsers import decode

from .test_parsers import CIFAR, IDX, IDX_FILES, IMAGES, MEMBERS, PLANAR, cifar_files, header, idx_files, refusal, tar


def sparse(size: int, original: int) -> bytes:
    """A GNU sparse member's header, which tarfile goes `size` bytes on from."""
    raw = bytearray(header("toy/train.bin", size, tarfile.GNUTYPE_SPARSE))
    raw[483:495] = b"%011o\0" % original
    return summed(raw)


def summed(raw: bytearray) -> bytes:
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def pax(record: str, member: bytes) -> bytes:
    """A pax header of one record, before a member."""
    length = len(record) + 3
    body = f"{length} {record}\n".encode()
    return header("pax", len(body), tarfile.XHDTYPE) + body.ljust(512, b"\0") + member


FOLDER = header("toy", 0, tarfile.DIRTYPE)
DAMAGED = "archive.gz must be a whole tar.gz; received a damaged one: "
HOSTILE_TARS: dict[str, tuple[Callable[[], bytes], str]] = {
    "negative size": (lambda: header("toy/train.bin", -512), f"{DAMAGED}a header promises -512 bytes"),
    "negative size of a folder": (lambda: header("toy", -512, tarfile.DIRTYPE), f"{DAMAGED}a header promises -512"),
    "sparse": (lambda: sparse(0, 8), "archive.gz must hold plain files inside its own folder; received member"),
    "sparse of negative size after a folder": (lambda: FOLDER + sparse(-1024, 8), f"{DAMAGED}a header promises -1024"),
    "pax size below nothing": (lambda: FOLDER + pax("size=-512", header("toy/train.bin", 8)), "archive.gz"),
    "pax sparse": (lambda: pax("GNU.sparse.size=8", header("toy/train.bin", 8)) + bytes(512), "archive.gz"),
    "pax without an end": (lambda: pax("a=b", b"") * 2_000, DAMAGED),
    "1,001 folders": (lambda: FOLDER * 1_001, "archive.gz must hold at most 1,000 members; received more"),
    "a member twice": (
        lambda: tar(MEMBERS)[:1024] + tar({"other/train.bin": PLANAR}),
        "archive.gz must hold train.bin once; received another: 'other/train.bin'",
    ),
    "a name of 5,000 letters": (lambda: tar({"x" * 5_000: b""}), "archive.gz"),
    "zeros without an end": (lambda: bytes(64 << 20), "archive.gz must hold coarse_label_names.txt, fine_label_names"),
}
HOSTILE_GZIPS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty members without an end": (lambda: gzip.compress(b"") * 200_000, "it has more than 10,000 members"),
    "blocks of nothing": (lambda: gzip.compress(b"")[:10] + b"\0\0\0\xff\xff" * 1_000_000, "it ends too early"),
    "another length": (lambda: gzip.compress(b"ab")[:-4] + b"\3\0\0\0", "Error -3"),
    "no gzip after the first member": (lambda: gzip.compress(IMAGES) + b"hello", "Error -3"),
}


@pytest.mark.parametrize("name", HOSTILE_TARS)
def test_a_hostile_archive_is_refused_within_seconds(tmp_path: Path, name: str) -> None:
    make, says = HOSTILE_TARS[name]
    files = cifar_files(tmp_path, gzip.compress(make(), compresslevel=1))
    started = time.process_time()
    said = refusal(CIFAR, files)
    assert said.startswith(says)
    assert len(said) < 500
    assert time.process_time() - started < 2


@pytest.mark.parametrize("name", HOSTILE_GZIPS)
def test_a_hostile_gzip_file_is_refused_within_seconds(tmp_path: Path, name: str) -> None:
    make, says = HOSTILE_GZIPS[name]
    raw = make()
    started = time.process_time()
    assert says in refusal(IDX, idx_files(tmp_path, train_images=raw))
    assert says in refusal(CIFAR, cifar_files(tmp_path, raw)) or "missing" in refusal(CIFAR, cifar_files(tmp_path, raw))
    assert time.process_time() - started < 2


def test_a_gzip_file_of_several_members_and_padding_is_read_whole(tmp_path: Path) -> None:
    raw = IDX_FILES["train-images"]
    packed = gzip.compress(raw[:7]) + gzip.compress(b"") + gzip.compress(raw[7:]) + bytes(100)
    assert decode(IDX, idx_files(tmp_path, train_images=packed))["train"].images.ravel().tolist() == [1, 2, 3, 4]
