"""Every image of Pillow's own tests, also those that are made to do harm: as Pillow shows it, or a reason.

They are in its source distribution, which pip fetches, or `PILLOW_IMAGES=pillow-13.0.0/Tests/images` names them.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from lib.images.decoding import FORMATS, Picture, pixel_digest
from lib.settings import REPOSITORY

MOST_MB = 1_000
IN_A_PROCESS = """
import json, resource, sys
from pathlib import Path
from lib.images.decoding import Unreadable, pixel_digest
from lib.images.decoding_process import decode_all
names = json.load(sys.stdin)
answers = decode_all((Path(name).read_bytes() for name in names), None, None)
shown = [
    {"reason": str(each)} if isinstance(each, Unreadable) else {**each._asdict(), "pixels": pixel_digest(each)}
    for each in answers
]
# Not ru_maxrss of this process: that counts what the process had that started it.
status = Path("/proc/self/status").read_text().splitlines()
own = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
peaks = [each // 1000 for each in (own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)]
print(json.dumps([shown, peaks]))
"""


def by_pillow(file: bytes, transparent: bool) -> np.ndarray | None:
    """What Pillow alone shows, in the plainest way; None where it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(file), formats=FORMATS) as image:
                image.load()
                bits = image.tag_v2.get(258) if image.format == "TIFF" else None
                upright = ImageOps.exif_transpose(image)
                if image.mode[0] in "IF":
                    values = np.asarray(upright).astype(np.float64)
                    hidden = values == image.info.get("transparency", -1)
                    is_16 = image.format == "PPM" or image.mode.startswith("I;16")
                    return np.where(hidden, 255, scaled(values, image.mode, 4_095 if bits == (12,) else 65_535, is_16))
                layered = upright.convert("RGBA")
        except Exception:
            return None
    white = Image.new("RGBA", layered.size, "white")
    return np.asarray((Image.alpha_composite(white, layered) if transparent else layered).convert("RGB"))


def scaled(values: np.ndarray, mode: str, top: float, is_16_bits: bool) -> np.ndarray:
    low = 0.0
    if mode == "F":
        top = 1
    if not is_16_bits or mode == "F":
        tops = [each for each in ((1, 255) if mode == "F" else (255, 65_535)) if values.max() <= each]
        low, top = (0, tops[0]) if values.min() >= 0 and tops else (values.min(), values.max())
    return np.rint((values - low) * 255 / (top - low))


@pytest.fixture(scope="session")
def pillow_images(request: pytest.FixtureRequest) -> Path:
    """The folder of images of the Pillow that is installed; fetched once, and kept where pytest keeps its cache."""
    if named := os.environ.get("PILLOW_IMAGES"):
        if not Path(named).is_dir():
            pytest.fail(f"PILLOW_IMAGES must name a folder; received {named}")
        return Path(named).absolute()
    version = metadata.version("pillow")
    kept = request.config.cache.mkdir("pillow-images") / version
    if not kept.is_dir():
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            command = [sys.executable, "-m", "tests.lib.images.fetch_pillow", version, f"{folder}/images"]
            done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=240)
            if done.returncode:
                said = done.stderr.strip().splitlines()[-1:] or ["it says nothing"]
                pytest.skip(f"pip cannot fetch Pillow {version} as its source distribution: {said[0]}")
            Path(folder, "images").rename(kept)
    return kept


@pytest.mark.real_data
@pytest.mark.timeout(600)
def test_every_image_is_as_pillow_shows_it_or_has_a_reason(pillow_images: Path) -> None:
    files = sorted(each for each in pillow_images.rglob("*") if each.is_file())
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS],
        input=json.dumps([str(each) for each in files]),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    shown, peaks = json.loads(done.stdout)
    assert len(shown) == len(files) > 1_000
    assert sum(peaks) < MOST_MB
    wrong = [each.name for each, what in zip(files, shown, strict=True) if not is_right(each.read_bytes(), what)]
    assert not wrong


def is_right(file: bytes, shown: dict[str, Any]) -> bool:
    expected = by_pillow(file, "alpha on white" in shown.get("conversions", ()))
    if "reason" in shown:
        return expected is None and 0 < len(shown["reason"]) < 200 and shown["reason"].isprintable()
    if expected is None or list(expected.shape[:2]) != shown["size"]:
        return False
    grey = expected if expected.ndim == 2 else expected[..., 0]
    pictures = (expected, grey) if expected.ndim == 3 else (grey,)
    pixels = (np.ascontiguousarray(each.reshape(*grey.shape, -1).astype(np.uint8)) for each in pictures)
    return shown["pixels"] in {pixel_digest(Picture(each, (0, 0), "", "", ())) for each in pixels}
