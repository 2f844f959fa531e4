"""Classes of a report: which are found best and worst, and what superclasses come to."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lib.data.datasets import readable
from lib.evaluation.metrics import ClassMetrics, SplitMetrics
from lib.lineage.manifests import Manifest, load, local_file
from lib.store import Store

EXTREMES = 5
"""So many of the best classes are shown, and of the worst."""


class Superclasses(NamedTuple):
    """Groups of classes that the publisher of the data made."""

    names: list[str]
    of_class: list[int]
    """The superclass of each class, by number."""


class Grouped(NamedTuple):
    """A superclass, on one split."""

    name: str
    classes: int
    recall: float
    """Mean of its classes."""
    right: float
    """Share of its images for which some class of it was predicted."""
    rows: int


class Extremes(NamedTuple):
    """Of the classes that have images: both are empty where they would say the same."""

    best: list[ClassMetrics]
    worst: list[ClassMetrics]
    """The worst first."""


def read_superclasses(store: Store, prepared: Manifest) -> Superclasses | None:
    """Those of the data; None where it has none, or where a class lies in several.

    Raises PermanentError where the dataset's labels cannot be read.
    """
    names = prepared.facts["superclass_names"]
    if not names:
        return None
    from lib.data.parquet import ImageFile  # with pyarrow

    dataset = load(store, prepared.inputs["dataset"])
    table = ImageFile(local_file(store, dataset, "test")).table
    found = pairs(table.labels, table.coarse_labels, len(prepared.facts["class_names"]), len(names))
    return Superclasses([readable(name) for name in names], found) if found else None


def pairs(labels: np.ndarray, coarse: np.ndarray | None, classes: int, superclasses: int) -> list[int] | None:
    """The superclass of each class, of `labels` (N,) and `coarse` (N,); None where one has not exactly one."""
    if coarse is None:
        return None
    both = np.zeros((classes, superclasses), bool)
    inside = (labels >= 0) & (labels < classes) & (coarse >= 0) & (coarse < superclasses)
    both[labels[inside], coarse[inside]] = True
    if not (both.sum(axis=1) == 1).all():
        return None
    return [int(each) for each in both.argmax(axis=1)]


def grouped(metrics: SplitMetrics, superclasses: Superclasses) -> list[Grouped]:
    """Each superclass that has images, the best found first."""
    of_class, confusion = np.array(superclasses.of_class), np.array(metrics.confusion)
    lines = []
    for number, name in enumerate(superclasses.names):
        inside = of_class == number
        rows = int(confusion[inside].sum())
        recalls = [each.recall for each, own in zip(metrics.per_class, inside, strict=True) if own and each.rows]
        if rows:
            right = int(confusion[np.ix_(inside, inside)].sum()) / rows
            lines.append(Grouped(name, int(inside.sum()), sum(recalls) / len(recalls), right, rows))
    return sorted(lines, key=lambda line: (-line.right, line.name))


def superclass_accuracy(metrics: SplitMetrics, superclasses: Superclasses) -> float:
    """Accuracy where an image counts as right if the predicted class is of the right superclass."""
    of_class = np.array(superclasses.of_class)
    return int(np.array(metrics.confusion)[of_class[:, np.newaxis] == of_class].sum()) / metrics.rows


def extremes(metrics: SplitMetrics) -> Extremes:
    """The best and the worst classes by recall; of equal ones those first that come first in the data."""
    found = [each for each in metrics.per_class if each.rows]
    if len({each.recall for each in found}) < 2:
        return Extremes([], [])
    count = min(EXTREMES, len(found) // 2)
    ordered = sorted(found, key=lambda each: -each.recall)
    return Extremes(ordered[:count], ordered[::-1][:count])


def order_of_classes(confusion: Sequence[Sequence[int]], superclasses: Superclasses | None, few: int) -> list[int]:
    """In which order a matrix of classes shows them: those side by side that belong together.

    Of up to `few` classes it is their own; else by superclass, or else by which are taken for one another on
    `confusion` (average linkage).
    """
    count = len(confusion)
    if count <= few:
        return [*range(count)]
    if superclasses:
        return sorted(range(count), key=lambda number: (superclasses.of_class[number], number))
    from scipy.cluster import hierarchy  # half a second to import

    matrix = np.array(confusion, np.float64)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    apart = 1 - (shares + shares.T) / 2
    return [int(each) for each in hierarchy.leaves_list(hierarchy.average(apart[np.triu_indices(count, 1)]))]


def groups_of(order: Sequence[int], superclasses: Superclasses | None) -> list[tuple[str, int, int]]:
    """Name, first place and number of classes of each superclass in `order`; none where that is not by superclass."""
    if superclasses is None:
        return []
    numbers = [superclasses.of_class[each] for each in order]
    starts = [place for place, number in enumerate(numbers) if place == 0 or numbers[place - 1] != number]
    if len(starts) != len(set(numbers)):
        return []
    ends = [*starts[1:], len(numbers)]
    return [(superclasses.names[numbers[start]], start, end - start) for start, end in zip(starts, ends, strict=True)]
