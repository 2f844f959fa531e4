"""Letters that matplotlib's own font lacks: which installed fonts have them, and what is drawn where none has."""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

OWN = "DejaVu Sans"
"""It comes with matplotlib, and draws what it can."""
# It would warn of each font that is looked at and has no upright letters of usual weight.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
BOXES = "last resort"
"""In the names of fonts that have a box for each letter."""


class Drawn(NamedTuple):
    """How names are drawn."""

    labels: list[str]
    style: dict[str, Any]
    """Arguments of matplotlib's texts; empty where its own font has all letters."""


def drawn(names: Sequence[str]) -> Drawn:
    """Each of `names`, or `class 7` where no font has all of its letters, and with which fonts."""
    own = _letters(OWN)
    others = _fonts_with(_lacking(names, own))
    known = own.union(*map(_letters, others))
    labels = [name if known.issuperset(name) else f"class {number}" for number, name in enumerate(names)]
    return Drawn(labels, {"fontfamily": [OWN, *others]} if others else {})


def fonts_of(names: Iterable[str]) -> dict[str, str] | None:
    """The digests of the files of further fonts for `names`, by font; None where matplotlib's own has all letters."""
    lacking = _lacking(names, _letters(OWN))
    return {name: _digest(name) for name in _fonts_with(lacking)} if lacking else None


def _lacking(names: Iterable[str], known: frozenset[str]) -> frozenset[str]:
    return frozenset().union(*names) - known


@cache
def _fonts_with(letters: frozenset[str]) -> tuple[str, ...]:
    """Installed fonts that together have as many of `letters` as can be had, upright sans-serif ones first."""
    found = []
    for name in sorted({each.name for each in fontManager.ttflist}, key=lambda name: ("Sans" not in name, name)):
        if not letters:
            break
        if name != OWN and letters & _letters(name):
            found.append(name)
            letters -= _letters(name)
    return tuple(found)


@cache
def _letters(font: str) -> frozenset[str]:
    """All that matplotlib can draw with the font of this name: none of bitmaps."""
    if BOXES in font.lower():
        return frozenset()
    try:
        face = get_font(_file(font))
        return frozenset(map(chr, face.get_charmap())) if face.scalable else frozenset()
    except (OSError, RuntimeError, ValueError):  # no longer there, damaged, or of a kind that it does not know
        return frozenset()


def _file(font: str) -> str:
    """As matplotlib finds it for texts of that family."""
    return findfont(FontProperties(family=[font]), fallback_to_default=False)


def _digest(font: str) -> str:
    with Path(_file(font)).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
