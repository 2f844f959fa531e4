"""Pretrained weights come into the store whole, of the right backbone, or not at all."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from lib.data.upstream import UpstreamFile
from lib.errors import PermanentError
from lib.lineage.manifests import Ref, load, local_file
from lib.lineage.verify import check_output
from lib.models import weights
from lib.models.backbone_schema import Backbone
from lib.models.weights import IMAGENET_FILES, find_weights, ingest_weights, weights_files
from lib.store import LocalStore

MOBILENET = Backbone(name="mobilenet", image_px=32)


def from_(source: str, backbone: Backbone = MOBILENET) -> Backbone:
    return backbone.model_copy(update={"weights": source})


def write_weights(path: Path, content: float = 1.0) -> Path:
    """A file in Keras 2's layout."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["conv1"]
        file.create_dataset("conv1/kernel:0", data=[content])
    return path


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    return folder


def ingest(store: LocalStore, backbone: Backbone, mirror: Path | None = None) -> Ref | None:
    return ingest_weights(store, backbone, mirror.as_uri() if mirror else None, lambda *_: None)


def refusal(store: LocalStore, backbone: Backbone, mirror: Path | None = None) -> str:
    with pytest.raises(PermanentError) as caught:
        ingest(store, backbone, mirror)
    assert not list(store.root.rglob("*.*")), "nothing is kept of what was refused"
    return str(caught.value)


def test_a_random_start_needs_no_weights(store: LocalStore) -> None:
    assert ingest(store, from_("none")) is None
    assert find_weights(store, from_("none")) is None


def accept(monkeypatch: pytest.MonkeyPatch, file: Path, **digests: str) -> None:
    """Take `file` alone as MobileNet's ImageNet weights, by its sha256 or by `digests`."""
    digests = digests or {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    only = UpstreamFile(role="weights", url=f"https://host/{file.name}", max_bytes=10_000, **digests)
    monkeypatch.setitem(weights.IMAGENET_FILES, "mobilenet", (only,))


def test_imagenet_weights_are_fetched_once_and_then_read_from_the_store(
    store: LocalStore, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_weights(mirror / "mobilenet.h5")
    accept(monkeypatch, file)
    sent = file.read_bytes()
    assert find_weights(store, MOBILENET) is None
    ref = ingest(store, MOBILENET, mirror)
    file.unlink()
    assert ref is not None
    assert ref.uri.startswith("weights/mobilenet/")
    assert find_weights(store, MOBILENET) == ref
    assert ingest(store, MOBILENET, mirror) == ref
    manifest = load(store, ref)
    assert (manifest.facts["name"], manifest.facts["layout"]) == ("imagenet", "topological")
    assert local_file(store, manifest, "weights").read_bytes() == sent


def test_keras_meets_the_file_under_a_name_that_tells_its_layout(
    store: LocalStore, mirror: Path, tmp_path: Path
) -> None:
    ref = ingest(store, from_(str(write_weights(mirror / "mine.hdf5"))))
    assert ref is not None
    files = weights_files(store, {"mobilenet": ref}, tmp_path)
    assert files["mobilenet"].name == "mobilenet.h5"
    with h5py.File(files["mobilenet"]) as stored:
        assert list(stored) == ["conv1"]


def test_a_given_file_is_found_by_its_content_whatever_its_name(store: LocalStore, mirror: Path) -> None:
    ref = ingest(store, from_(str(write_weights(mirror / "a.h5", 1.0))))
    other = ingest(store, from_(str(write_weights(mirror / "b.h5", 2.0))))
    (mirror / "a.h5").rename(mirror / "moved.h5")
    assert ref != other
    assert find_weights(store, from_(str(mirror / "moved.h5"))) == ref
    assert ref is not None
    assert find_weights(store, from_(ref.uri)) == ref, "a store address names them too"


def test_each_file_of_imagenet_weights_has_a_digest() -> None:
    assert all(file.md5 or file.sha256 for files in IMAGENET_FILES.values() for file in files)
    (_, converted) = IMAGENET_FILES["mobilenet"]
    assert converted.sha256 == "b2dc06376b0002af72df6b1e7363ef5012207bd9094e25af053d68b01e6a546a"


@pytest.mark.real_data
def test_the_real_weights_have_the_digest_that_is_asked_for() -> None:
    file = Path(__file__).resolve().parents[4] / "shared/datasets/weights/mobilenet_1_0_224_tf_no_top.weights.h5"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == IMAGENET_FILES["mobilenet"][1].sha256


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_mirrors_file_must_have_the_digest_too(
    store: LocalStore, mirror: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    file = write_weights(mirror / "mobilenet.h5", content=1.0)
    expected = hashlib.new(algorithm, file.read_bytes()).hexdigest()
    accept(monkeypatch, file, **{algorithm: expected})
    write_weights(file, content=2.0)
    received = hashlib.new(algorithm, file.read_bytes()).hexdigest()
    assert f"must have {algorithm} {expected}; received {received}" in refusal(store, MOBILENET, mirror)
    assert find_weights(store, MOBILENET) is None
    write_weights(file, content=1.0)
    assert ingest(store, MOBILENET, mirror) is not None


@pytest.mark.parametrize("name", ["mobilenet_1_0_224_tf_no_top.h5", "mobilenet_1_0_224_tf_no_top.weights.h5"])
def test_another_file_under_a_known_name_is_refused(store: LocalStore, mirror: Path, name: str) -> None:
    write_weights(mirror / name)
    assert f"{name} " in refusal(store, MOBILENET, mirror)


def test_a_file_only_mirrors_have_is_taken_with_its_digest_alone(
    store: LocalStore, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_weights(mirror / "only_here.h5")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()

    accept(monkeypatch, file, sha256="0" * 64)
    assert f"must have sha256 {'0' * 64}; received {digest}" in refusal(store, MOBILENET, mirror)
    accept(monkeypatch, file, sha256=digest)
    assert ingest(store, MOBILENET, mirror) is not None


def hdf5(path: Path, **datasets: Any) -> Path:
    """A file in Keras 2's layout with datasets that promise so many float32."""
    write_weights(path)
    with h5py.File(path, "a") as file:
        for name, shape in datasets.items():
            file.create_dataset(name, shape, "f4", chunks=(1024,))
    return path


def many_groups(path: Path) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["layer_names"] = ["conv1"]
        for number in range(5):
            file.create_group(f"{number}")


def sparse(size_bytes: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        write_weights(path)
        os.truncate(path, size_bytes)

    return make


def cut(path: Path) -> None:
    write_weights(path)
    path.write_bytes(path.read_bytes()[:-100])


def damaged(path: Path) -> None:
    raw = bytearray(write_weights(path).read_bytes())
    raw[40:400] = b"\xff" * 360
    path.write_bytes(raw)


def other_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["numbers"] = [1, 2]


def values_elsewhere(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/kernel", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def linked(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["layers"] = h5py.ExternalLink("/other.h5", "/layers")


NOT_A_FILE = "--weights must be imagenet, none, a file, an s3:// address or weights/BACKBONE/KEY of the store; "
WHOLE = "weights must be a whole HDF5 file; "
HOSTILE: dict[str, tuple[Callable[[Path], object] | str, str]] = {
    "nothing there": (lambda path: None, NOT_A_FILE + "received "),
    "a folder": (Path.mkdir, NOT_A_FILE + "received "),
    "a pipe": (os.mkfifo, NOT_A_FILE + "received "),
    "a link to nothing": (lambda path: path.symlink_to("gone"), NOT_A_FILE + "received "),
    "a link to itself": (lambda path: path.symlink_to(path), NOT_A_FILE + "received "),
    "a device": ("/dev/zero", NOT_A_FILE + "received '/dev/zero', and no file is there"),
    "the kernel's log": ("/proc/kmsg", WHOLE + "/proc/kmsg does not begin as one"),
    "a name of 300 letters": ("x" * 300, NOT_A_FILE),
    "a home of nobody": ("~no-such-user/x", NOT_A_FILE + "'~no-such-user/x' cannot be read: "),
    "a NUL": ("a\0b", NOT_A_FILE),
    "a store address without a key": ("weights/mobilenet/0", NOT_A_FILE + "received 'weights/mobilenet/0'"),
    "empty": (Path.touch, WHOLE),
    "sparse, 8 TB": (sparse(8 << 40), "weights must have at most 2,000,000,000 bytes; "),
    "zeros": (lambda path: os.truncate(path.open("w").name, 1_900_000_000), WHOLE),
    "text": (lambda path: path.write_text("<html>not found</html>"), WHOLE),
    "cut": (cut, WHOLE),
    "damaged": (damaged, "weights must be a"),
    "other HDF5": (other_hdf5, "weights must be an HDF5 file that Keras wrote"),
    "values in another file": (values_elsewhere, WHOLE + "received broken.h5 from "),
    "a link to another file": (linked, WHOLE + "received broken.h5 from "),
    "a promise of 4 TB": (lambda path: hdf5(path, big=(1 << 40,)), WHOLE + "received broken.h5 from "),
    "promises of 4 GB": (
        lambda path: hdf5(path, a=(500_000_000,), b=(500_000_000,)),
        WHOLE + "received broken.h5 from ",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_whole_weights_file_is_refused_by_name_at_once(store: LocalStore, mirror: Path, name: str) -> None:
    made, rule = HOSTILE[name]
    path = mirror / "broken.h5"
    source = made if isinstance(made, str) else str(path)
    if not isinstance(made, str):
        made(path)
    started = time.process_time()
    said = refusal(store, from_(source))
    assert said.startswith(rule)
    assert "\n" not in said
    assert len(said) < 600
    assert time.process_time() - started < 1


def test_more_datasets_than_any_network_has_are_refused(
    store: LocalStore, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "MOST_DATASETS", 4)
    many_groups(mirror / "many.h5")
    assert "it promises 0 bytes in 5 datasets" in refusal(store, from_(str(mirror / "many.h5")))


def test_a_file_in_a_folder_called_weights_is_a_file(
    store: LocalStore, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mirror / "weights" / "mobilenet").mkdir(parents=True)
    write_weights(mirror / "weights" / "mobilenet" / "mine.h5")
    monkeypatch.chdir(mirror)
    assert ingest(store, from_("weights/mobilenet/mine.h5")) is not None
    assert from_("weights/mobilenet/mine.h5").weights_lie_elsewhere
    assert not from_("weights/mobilenet/0123456789abcdef").weights_lie_elsewhere


def test_weights_that_cannot_be_had_are_an_error_that_says_what_to_set(store: LocalStore, mirror: Path) -> None:
    said = refusal(store, Backbone(name="resnet50", image_px=32), mirror)
    assert said.startswith("the ImageNet weights of resnet50 cannot be had: ")
    assert "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5" in said
    assert said.endswith("set --weights none (a random start), a file or s3:// address, or MIRROR_URL")


def test_weights_in_the_store_are_refused_to_another_backbone(store: LocalStore, mirror: Path) -> None:
    ref = ingest(store, from_(str(write_weights(mirror / "a.h5"))))
    assert ref is not None
    with pytest.raises(PermanentError, match=r"^weights for resnet50 were asked for; weights/mobilenet"):
        ingest(store, Backbone(name="resnet50", image_px=32, weights=ref.uri))
    with pytest.raises(PermanentError, match=r"^no weights lie at weights/mobilenet/0{16} in "):
        ingest(store, from_(f"weights/mobilenet/{0:016}"))


FORGED = [
    ({"name": "imagenet"}, "must hold ImageNet weights of toy; received mine.h5 "),
    ({"backbone": "mobilenet"}, "its address must be weights/mobilenet/"),
    ({"layout": "keras-3"}, "facts.layout must be topological,"),
    ({"name": "other.h5"}, "facts.name must be mine.h5,"),
]


@pytest.mark.parametrize(("facts", "says"), FORGED, ids=[str(facts) for facts, _ in FORGED])
def test_weights_are_verified_and_a_forged_fact_is_named(
    store: LocalStore, mirror: Path, monkeypatch: pytest.MonkeyPatch, facts: dict[str, str], says: str
) -> None:
    sha256 = hashlib.sha256(write_weights(mirror / "toy.h5").read_bytes()).hexdigest()
    file = UpstreamFile(role="weights", url="https://host/toy.h5", max_bytes=100_000, sha256=sha256)
    monkeypatch.setitem(weights.IMAGENET_FILES, "toy", (file,))
    toy = Backbone(name="toy", image_px=32)
    given = ingest(store, from_(str(write_weights(mirror / "mine.h5", 2.0)), toy))
    for ref in (ingest(store, toy, mirror), given):
        assert check_output(store, ref) == ""
    assert given
    manifest = load(store, given)
    forged = manifest.model_copy(update={"facts": manifest.facts | facts})
    store.write(f"{given.uri}/manifest.json", forged.to_json())
    with pytest.raises(PermanentError) as caught:
        check_output(store, forged.ref(given.uri))
    assert says in str(caught.value)
