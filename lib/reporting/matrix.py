"""A confusion matrix as a picture of one pixel a cell, with names around it that the page writes, at any size.

A hundred classes so have names that a person can read, and a matrix that takes some kilobytes.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lib.data.datasets import readable
from lib.evaluation.metrics import SplitMetrics
from lib.reporting.classes import Superclasses, groups_of, order_of_classes

FEW = 20
"""Classes up to which the numbers stand in the cells."""
MOST_NAMED = 150
"""Classes up to which their names stand beside the rows."""
NAME_LETTERS = 28
CELL = 10
"""Side of a cell, in units of the drawing."""
LETTER = 0.56
"""Width of a letter, as a share of the size of the font: about the mean of what browsers use."""
SHADES = np.array([[255, 255, 255], [107, 174, 214], [8, 48, 107]], np.float64)
"""Of a share of 0, 1/4 and 1: blue, as told apart by colour-blind readers too."""
DARK = 0.3
"""Share above which a cell is too dark for black numbers."""


@dataclass(frozen=True)
class Frame:
    """What is around the matrices of a report, which all have the same order of classes."""

    order: list[int]
    names: list[str]
    """In that order."""
    groups: list[tuple[str, int, int]]
    """Superclass, its first place, and how many classes it has; empty where the order is not by superclass."""

    @property
    def count(self) -> int:
        """Of classes."""
        return len(self.order)

    @property
    def many(self) -> bool:
        """Too many for numbers in the cells."""
        return self.count > FEW

    @property
    def font(self) -> float:
        """Size of the names, in units."""
        return 8.0 if self.many else 2.6

    @property
    def labels(self) -> list[str]:
        """The names as they are drawn; empty where there are too many."""
        return [_short(name) for name in self.names] if self.count <= MOST_NAMED else []

    @property
    def margin(self) -> float:
        """Room for the names to the left and above, in units."""
        return round(self._room(self.labels) + self.font / 2, 1) if self.labels else 0.0

    @property
    def right(self) -> float:
        """Room for the names of superclasses, in units."""
        return round(self._room([_short(name) for name, _, _ in self.groups]) + self.font, 1) if self.groups else 0.0

    @property
    def side(self) -> int:
        """Of the matrix itself, in units."""
        return self.count * CELL

    def _room(self, names: Sequence[str]) -> float:
        return max(map(len, names)) * self.font * LETTER


@dataclass(frozen=True)
class Matrix:
    """One model's."""

    picture: str
    """data: address."""
    cells: list[int]
    """Row, column and images of each cell that has some, one after another, in the order of the frame."""
    rows: list[int]
    """Images of each true class."""

    def numbers(self) -> list[tuple[int, int, int, bool]]:
        """Row, column and images of each cell, and whether it is dark."""
        triples = zip(self.cells[::3], self.cells[1::3], self.cells[2::3], strict=True)
        return [(row, column, images, images > DARK * self.rows[row]) for row, column, images in triples]


def frame_of(best: SplitMetrics, superclasses: Superclasses | None) -> Frame:
    """That of a report whose best model has these metrics."""
    order = order_of_classes(best.confusion, superclasses, FEW)
    names = [readable(best.per_class[number].name) for number in order]
    return Frame(order, names, groups_of(order, superclasses) if len(order) > FEW else [])


def matrix(metrics: SplitMetrics, frame: Frame, picture: bytes) -> Matrix:
    """That of a model; `picture` is what `draw_matrix` made of it."""
    ordered = _ordered(metrics, frame.order)
    filled = np.argwhere(ordered)
    cells = [int(each) for row, column in filled for each in (row, column, ordered[row, column])]
    address = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    return Matrix(address, cells, [int(each) for each in ordered.sum(axis=1)])


def draw_matrix(metrics: SplitMetrics, order: Sequence[int]) -> bytes:
    """A PNG with a pixel a cell: row the true class, column the predicted one, shaded by the share of the true class.

    The shade goes with the square root of the share: small shares are where the mistakes are.
    """
    ordered = _ordered(metrics, order)
    shares = np.sqrt(ordered / np.maximum(ordered.sum(axis=1, keepdims=True), 1))
    channels = [np.interp(shares, np.linspace(0, 1, len(SHADES)), channel) for channel in SHADES.T]
    buffer = io.BytesIO()
    Image.fromarray(np.stack(channels, axis=-1).round().astype(np.uint8)).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def _ordered(metrics: SplitMetrics, order: Sequence[int]) -> np.ndarray:
    return np.array(metrics.confusion)[np.ix_(order, order)]


def _short(name: str) -> str:
    line = " ".join(name.split())
    return line if len(line) <= NAME_LETTERS else f"{line[: NAME_LETTERS - 1]}…"
