"""Pretrained weights come into the store whole, of the right backbone, or not at all."""

import hashlib
from pathlib import Path

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

from .conftest import write_weights

MOBILENET = Backbone(name="mobilenet", image_px=32)


def from_(source: str, backbone: Backbone = MOBILENET) -> Backbone:
    return backbone.model_copy(update={"weights": source})


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
