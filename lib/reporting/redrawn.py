"""For verify: the pictures of a stored report against those that its inputs give."""

import io
from collections.abc import Callable, Collection

import numpy as np
from PIL import Image

from lib.errors import PermanentError
from lib.lineage.manifests import Manifest, local_file
from lib.lineage.provenance import environment
from lib.lineage.verify import must_equal
from lib.reporting.doubts import names_of_doubts
from lib.reporting.makers import beside_of
from lib.reporting.pictures import names_of_pictures
from lib.reporting.robustness import PICTURE as ROBUSTNESS
from lib.reporting.sections import Art
from lib.reporting.tiles import read_captions
from lib.store import Store

DRAWN_BY = ("matplotlib", "numpy")
"""Another version of these may draw the same data a little differently."""
OPTIONAL = (ROBUSTNESS,)
"""Pictures that a report has where their section was asked for."""
LEVELS = 2
"""Of 255: by how much a pixel may differ from one processor to another."""


def check_pictures(
    store: Store, address: str, report: Manifest, models: Collection[str], draw: Callable[[], Art]
) -> tuple[list[str], str]:
    """The names of a report's pictures, and a note where they were not compared.

    They are compared only where the report says that the same packages and fonts drew them. Raises PermanentError for
    the first that is another picture, or has other captions.
    """
    doubts = names_of_doubts(models, beside_of(report))
    names = [*names_of_pictures(models), *doubts, *(name for name in OPTIONAL if name in report.files)]
    made, here = (each["packages"] for each in (report.made_by, environment()))
    if others := [f"{name} {made.get(name)}" for name in DRAWN_BY if made.get(name) != here[name]]:
        return names, f"{address}: its pictures are not compared: they were drawn by {', '.join(others)}"
    drawn = draw()
    must_equal(address, "captions", drawn.captions, read_captions(store, report))
    if drawn.fonts != report.made_by.get("fonts"):
        return names, f"{address}: its pictures are not compared: other fonts drew the names of its classes"
    for name in names:
        if not _alike(drawn.pictures[name], local_file(store, report, name).read_bytes()):
            raise PermanentError(
                f"{address}: {report.files[name].path} must be the picture that its inputs give; received another"
            )
    return names, ""


def _alike(expected: bytes, received: bytes) -> bool:
    if expected == received:
        return True
    right, stored = (np.asarray(Image.open(io.BytesIO(each)).convert("RGB"), np.int16) for each in (expected, received))
    return right.shape == stored.shape and int(np.abs(right - stored).max()) <= LEVELS
