"""Publishers' formats, by archives built here byte for byte."""

import gzip
import hashlib
import io
import struct
import tarfile
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from lib.data.datasets import DatasetSpec, SplitDigests
from lib.data.parsers import decode
from lib.data.upstream import UpstreamFile
from lib.errors import PermanentError

# One image of 1×2 pixels: the left one is (1, 2, 3), the right one (4, 5, 6); coarse label 1, fine label 2.
PLANAR = bytes([1, 2, 1, 4, 2, 5, 3, 6])
HWC = bytes([1, 2, 3, 4, 5, 6])
TEST_PLANAR = bytes([0, 0, 9, 9, 9, 9, 9, 9])


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def toy(name: str, form: str, shape: tuple[int, int, int], digests: dict[str, SplitDigests], roles: str) -> DatasetSpec:
    return DatasetSpec(
        name=name,
        title="Toy",
        format=form,
        files=tuple(UpstreamFile(role=r, url=f"https://host/{r}.gz", max_bytes=10_000) for r in roles.split()),
        image_shape=shape,
        rows={"train": 1, "test": 1},
        class_names=("a", "b", "c"),
        superclass_names=("x", "y") if form == "cifar100-binary" else (),
        digests=digests,
        validation_rows=1,
        source="made up",
        licence="none",
        citation="nobody",
    )


CIFAR = toy(
    "toy-cifar",
    "cifar100-binary",
    (1, 2, 3),
    {
        "train": SplitDigests(images=sha256(HWC), labels=sha256(b"\2"), coarse_labels=sha256(b"\1")),
        "test": SplitDigests(images=sha256(b"\t" * 6), labels=sha256(b"\0"), coarse_labels=sha256(b"\0")),
    },
    "archive",
)
IDX = toy(
    "toy-idx",
    "idx",
    (2, 2, 1),
    {
        "train": SplitDigests(images=sha256(b"\1\2\3\4"), labels=sha256(b"\2")),
        "test": SplitDigests(images=sha256(b"\5\6\7\10"), labels=sha256(b"\0")),
    },
    "train-images train-labels test-images test-labels",
)

MEMBERS = {
    "toy/train.bin": PLANAR,
    "toy/test.bin": TEST_PLANAR,
    "toy/fine_label_names.txt": b"a\nb\nc\n",
    "toy/coarse_label_names.txt": b"x\ny\n",
}
IMAGES = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2])
LABELS = bytes([0, 0, 8, 1, 0, 0, 0, 1])
IDX_FILES = {
    "train-images": IMAGES + b"\1\2\3\4",
    "train-labels": LABELS + b"\2",
    "test-images": IMAGES + b"\5\6\7\10",
    "test-labels": LABELS + b"\0",
}


def tar(members: Mapping[str, bytes], *more: tarfile.TarInfo) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in more:
            archive.addfile(info, io.BytesIO(bytes(info.size)) if info.isfile() else None)
    return packed.getvalue()


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A tar header alone: what it promises does not follow."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def cifar_files(folder: Path, raw: bytes) -> dict[str, Path]:
    (folder / "archive.gz").write_bytes(raw)
    return {"archive": folder / "archive.gz"}


def idx_files(folder: Path, **changed: bytes) -> dict[str, Path]:
    """The toy's files, with those of `changed` (role with _ for -) as given, unpacked or not."""
    packed = {role: gzip.compress(data) for role, data in IDX_FILES.items()}
    packed |= {name.replace("_", "-"): data for name, data in changed.items()}
    for role, data in packed.items():
        (folder / f"{role}.gz").write_bytes(data)
    return {role: folder / f"{role}.gz" for role in packed}


def refusal(spec: DatasetSpec, files: Mapping[str, Path]) -> str:
    with pytest.raises(PermanentError) as error:
        decode(spec, files)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_planar_record_becomes_rows_of_rgb_pixels(tmp_path: Path) -> None:
    train = decode(CIFAR, cifar_files(tmp_path, gzip.compress(tar(MEMBERS))))["train"]
    assert train.images.shape == (1, 1, 2, 3)
    assert train.images.dtype == np.uint8
    assert train.images[0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert train.labels.tolist() == [2]
    assert train.coarse_labels is not None
    assert train.coarse_labels.tolist() == [1]


def test_idx_files_become_images_with_one_channel(tmp_path: Path) -> None:
    decoded = decode(IDX, idx_files(tmp_path))
    assert decoded["train"].images.tolist() == [[[[1], [2]], [[3], [4]]]]
    assert decoded["train"].labels.tolist() == [2]
    assert decoded["test"].images.tolist() == [[[[5], [6]], [[7], [8]]]]
    assert decoded["test"].coarse_labels is None


def test_an_unknown_format_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    said = refusal(IDX.model_copy(update={"format": "idz"}), idx_files(tmp_path))
    assert said == "toy-idx: unknown format 'idz'; known: cifar100-binary, idx, own-images, sklearn-digits"


def test_a_folder_in_the_archive_is_no_extra_member(tmp_path: Path) -> None:
    folder = tarfile.TarInfo("toy")
    folder.type = tarfile.DIRTYPE
    assert decode(CIFAR, cifar_files(tmp_path, gzip.compress(tar(MEMBERS, folder))))["test"].labels.tolist() == [0]


def test_a_cut_archive_is_named_as_damaged(tmp_path: Path) -> None:
    whole = gzip.compress(tar(MEMBERS), compresslevel=0)
    said = refusal(CIFAR, cifar_files(tmp_path, whole[:700]))
    assert said.startswith("archive.gz must be a whole tar.gz; received a damaged one: ")


def test_a_corrupt_archive_is_named_as_damaged(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(tar(MEMBERS)))
    whole[20:40] = b"\xff" * 20
    assert refusal(CIFAR, cifar_files(tmp_path, bytes(whole))).startswith("archive.gz must be a whole tar.gz; received")


def test_what_is_gzip_but_no_archive_is_named_as_damaged(tmp_path: Path) -> None:
    said = refusal(CIFAR, cifar_files(tmp_path, gzip.compress(b"hello" * 1000)))
    assert said.startswith("archive.gz must be a whole tar.gz; received a damaged one: ")


def test_cut_and_corrupt_idx_files_are_named_as_damaged(tmp_path: Path) -> None:
    whole = gzip.compress(IDX_FILES["train-images"])
    wrong_crc = whole[:-8] + bytes(4) + whole[-4:]
    for raw in (whole[:-1], whole[:15], wrong_crc):
        said = refusal(IDX, idx_files(tmp_path, train_images=raw))
        assert said.startswith("train-images.gz must be a whole gzip file; received a damaged one: ")


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"<!DOCTYPE html>\n<p>Sign in", "an HTML page"),
        (b"  <html>", "an HTML page"),
        (b"", "another kind of file"),
        (b"PK\3\4", "another kind of file"),
    ],
    ids=["page", "indented page", "nothing", "zip"],
)
def test_what_is_no_gzip_is_called_by_what_it_is(tmp_path: Path, raw: bytes, kind: str) -> None:
    rule = f"must be gzip; received {kind}"
    assert refusal(CIFAR, cifar_files(tmp_path, raw)) == f"archive.gz {rule}"
    assert refusal(IDX, idx_files(tmp_path, test_labels=raw)) == f"test-labels.gz {rule}"


@pytest.mark.parametrize("name", ["../../x", "toy/../../train.bin", "/train.bin", "/etc/passwd"])
def test_a_member_outside_the_archives_folder_is_refused(tmp_path: Path, name: str) -> None:
    said = refusal(CIFAR, cifar_files(tmp_path, gzip.compress(tar({name: PLANAR, **MEMBERS}))))
    assert said == f"archive.gz must hold plain files inside its own folder; received member {name!r}"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    link = tarfile.TarInfo("toy/train.bin")
    link.type, link.linkname = kind, "/etc/passwd"
    said = refusal(CIFAR, cifar_files(tmp_path, gzip.compress(tar({}, link))))
    assert said == "archive.gz must hold plain files inside its own folder; received member 'toy/train.bin'"


def test_a_member_that_nobody_asked_for_is_refused(tmp_path: Path) -> None:
    said = refusal(CIFAR, cifar_files(tmp_path, gzip.compress(tar({**MEMBERS, "toy/run.sh": b"rm"}))))
    assert said == "archive.gz: member 'toy/run.sh' may have 0 bytes; its header promises 2"


def test_a_missing_member_is_named(tmp_path: Path) -> None:
    members = {name: data for name, data in MEMBERS.items() if name != "toy/test.bin"}
    said = refusal(CIFAR, cifar_files(tmp_path, gzip.compress(tar(members))))
    assert said == (
        "archive.gz must hold coarse_label_names.txt, fine_label_names.txt, test.bin, train.bin; missing: test.bin"
    )


def test_a_member_that_is_too_short_is_named(tmp_path: Path) -> None:
    said = refusal(CIFAR, cifar_files(tmp_path, gzip.compress(tar({**MEMBERS, "toy/test.bin": b"\0" * 7}))))
    assert said == "test.bin must have 8 bytes; received 7"


def test_other_class_names_are_refused(tmp_path: Path) -> None:
    changed = {**MEMBERS, "toy/fine_label_names.txt": b"a\nc\nb\n"}
    said = refusal(CIFAR, cifar_files(tmp_path, gzip.compress(tar(changed))))
    assert said == "fine_label_names.txt must name a b c…; received a c b…"


def test_a_tar_header_promising_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    said = refusal(CIFAR, cifar_files(tmp_path, gzip.compress(header("toy/train.bin", 8 << 30))))
    assert said == "archive.gz: member 'toy/train.bin' may have 8 bytes; its header promises 8,589,934,592"


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_an_extended_header_that_unpacks_to_much_is_refused_before_it_is_read(tmp_path: Path, kind: bytes) -> None:
    bomb = gzip.compress(header("x", 64 << 20, kind) + bytes(64 << 20), compresslevel=1)
    files = cifar_files(tmp_path, bomb)
    tracemalloc.start()
    said = refusal(CIFAR, files)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert said.startswith("archive.gz must be a whole tar.gz; received a damaged one: a header promises 67108")
    assert peak < 8 << 20


def test_an_idx_header_promising_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    raw = gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, 4_000_000_000, 28, 28))
    said = refusal(IDX, idx_files(tmp_path, train_images=raw))
    assert said == "train-images.gz must hold (1, 2, 2); its header promises (4000000000, 28, 28)"


def test_an_idx_file_is_read_no_further_than_promised(tmp_path: Path) -> None:
    raw = gzip.compress(IMAGES + b"\1\2\3\4\5")
    said = refusal(IDX, idx_files(tmp_path, train_images=raw))
    assert said == "train-images.gz must hold 4 bytes after its header; received more"


def test_an_idx_file_with_too_few_pixels_is_refused(tmp_path: Path) -> None:
    said = refusal(IDX, idx_files(tmp_path, train_images=gzip.compress(IMAGES + b"\1\2\3")))
    assert said == "train-images.gz must hold 4 bytes after its header; received 3"


@pytest.mark.parametrize("head", [b"", b"\0\0\x08", b"\0\0\x0b\3", b"\0\0\x08\1", b"hello"])
def test_another_idx_type_is_refused(tmp_path: Path, head: bytes) -> None:
    said = refusal(IDX, idx_files(tmp_path, train_images=gzip.compress(head)))
    assert said == "train-images.gz must be IDX of unsigned bytes in 3 dimensions; received another kind"


def test_an_idx_header_that_is_cut_is_refused(tmp_path: Path) -> None:
    said = refusal(IDX, idx_files(tmp_path, train_images=gzip.compress(IMAGES[:10])))
    assert said.startswith("train-images.gz must hold (1, 2, 2); its header promises ")


def test_other_pixels_are_refused(tmp_path: Path) -> None:
    said = refusal(IDX, idx_files(tmp_path, test_images=gzip.compress(IMAGES + b"\5\6\7\7")))
    assert said == (
        f"toy-idx: test images must have sha256 {sha256(bytes([5, 6, 7, 8]))}; received {sha256(bytes([5, 6, 7, 7]))}"
    )


@pytest.mark.parametrize(("at", "field"), [(0, "coarse_labels"), (1, "labels"), (7, "images")])
def test_one_changed_byte_of_a_record_is_refused(tmp_path: Path, at: int, field: str) -> None:
    record = bytearray(PLANAR)
    record[at] ^= 1
    said = refusal(CIFAR, cifar_files(tmp_path, gzip.compress(tar({**MEMBERS, "toy/train.bin": bytes(record)}))))
    assert said.startswith(f"toy-cifar: train {field} must have sha256 ")
