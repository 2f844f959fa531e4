"""A store with a trained model of tiny images, and images of all kinds to predict."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.lineage.manifests import Ref
from lib.prediction.choice import model_to_use
from lib.store import LocalStore
from tests.pinned_stores import PRESENT


@pytest.fixture
def trained(tmp_path: Path) -> LocalStore:
    """A store with a linear classifier of images of 6 × 6 × 1, dim and bright."""
    shutil.copytree(PRESENT, tmp_path / "trained")
    return LocalStore(tmp_path / "trained")


@pytest.fixture
def evaluation(trained: LocalStore) -> Ref:
    return model_to_use(trained, "toy", None)


def picture(grey: int, side: int = 6, mode: str = "L", file_format: str = "png") -> bytes:
    """One of noise about `grey`, the same each time."""
    noise = np.random.default_rng(grey).integers(max(0, grey - 30), min(255, grey + 30), (side, side), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(stream, file_format)
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten files, of which two are bad: 00 and 04 to 09 are dim, 01 to 03 bright."""
    root = tmp_path / "images"
    (root / "below").mkdir(parents=True)
    files = {"00.png": picture(60), "01.png": picture(220, 12, "RGB"), "02.tif": picture(210, 6, "L", "tiff")}
    files |= {"03.gif": picture(230, 6, "P", "gif"), "04.jpg": picture(50, 40, "RGB", "jpeg"), "05.png": b""}
    files |= {"06.png": picture(40)[:-20], **{f"below/{at:02d}.png": picture(at) for at in (31, 32, 33)}}
    for name, data in files.items():
        (root / name).write_bytes(data)
    return root
