"""Pretrained weights come into the store whole, of the right backbone, or not at all."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from lib.data.upstream import UpstreamFile
from lib.errors import PermanentError
from lib.lineage.manifests import Ref, load, local_file
from lib.models import weights
from lib.models.schema import Backbone
from lib.models.weights import find_weights, ingest_weights, weights_file
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


def test_imagenet_weights_are_fetched_once_and_then_read_from_the_store(store: LocalStore, mirror: Path) -> None:
    file = write_weights(mirror / "mobilenet_1_0_224_tf_no_top.h5")
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
    file = weights_file(store, load(store, ref), tmp_path)
    assert file.name == "backbone.h5"
    with h5py.File(file) as stored:
        assert list(stored) == ["conv1"]


def test_a_given_file_is_found_by_its_content_whatever_its_name(store: LocalStore, mirror: Path) -> None:
    ref = ingest(store, from_(str(write_weights(mirror / "a.h5", 1.0))))
    other = ingest(store, from_(str(write_weights(mirror / "b.h5", 2.0))))
    (mirror / "a.h5").rename(mirror / "moved.h5")
    assert ref != other
    assert find_weights(store, from_(str(mirror / "moved.h5"))) == ref
    assert ref is not None
    assert find_weights(store, from_(ref.uri)) == ref, "a store address names them too"


def test_a_file_only_mirrors_have_is_taken_with_its_digest_alone(
    store: LocalStore, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_weights(mirror / "only_here.h5")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()

    def accept(sha256: str) -> None:
        only = UpstreamFile(
            role="weights", url="https://host/only_here.h5", max_bytes=10_000, sha256=sha256, only_in_mirrors=True
        )
        monkeypatch.setitem(weights.IMAGENET_FILES, "mobilenet", (only,))

    accept("0" * 64)
    assert f"must have sha256 {'0' * 64}; received {digest}" in refusal(store, MOBILENET, mirror)
    accept(digest)
    assert ingest(store, MOBILENET, mirror) is not None


def truncated(path: Path) -> str:
    write_weights(path)
    path.write_bytes(path.read_bytes()[:-100])
    return "weights must be a whole HDF5 file"


def other_hdf5(path: Path) -> str:
    with h5py.File(path, "w") as file:
        file["numbers"] = [1, 2]
    return "weights must be an HDF5 file that Keras wrote"


def no_hdf5(path: Path) -> str:
    path.write_text("<html>not found</html>")
    return "weights must be a whole HDF5 file"


def nothing(path: Path) -> str:
    return "--weights must be imagenet, none, a file or s3:// address"


@pytest.mark.parametrize("make", [truncated, other_hdf5, no_hdf5, nothing])
def test_what_is_no_whole_weights_file_is_refused_by_name(
    make: Callable[[Path], str], store: LocalStore, mirror: Path
) -> None:
    said = refusal(store, from_(str(mirror / "broken.h5"))) if (rule := make(mirror / "broken.h5")) else ""
    assert said.startswith(rule)
    assert "broken.h5" in said


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
    with pytest.raises(PermanentError, match=r"^no weights lie at weights/mobilenet/0 in "):
        ingest(store, from_("weights/mobilenet/0"))
