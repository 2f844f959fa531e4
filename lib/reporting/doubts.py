"""What a report doubts of its data: near duplicates, and labels that are probably wrong."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from lib.lineage.manifests import Ref
from lib.lineage.steps import STEPS
from lib.reporting.leaderboard import shown

NEAR_DUPLICATES, SUSPECTED_LABELS = "near-duplicates", "suspected-labels"
"""Names of pictures."""
MANY_LABELS, LEAST_LABELS = 0.02, 5
"""More implausible labels than this share, and no fewer than so many, are said on the first screen."""


class WithAndWithout(NamedTuple):
    """A model's accuracy on a split."""

    whole: float
    without: float | None
    """Without the images that have a twin in train; None where that leaves none."""
    on_twins: float | None
    """On these alone; None where there are none."""


@dataclass(frozen=True)
class ShownPair:
    """Two images side by side on a sheet."""

    box: tuple[int, int, int, int]
    """Left, top, width and height on the sheet."""
    left: tuple[str, str]
    """Split and class."""
    right: tuple[str, str]
    correlation: float

    @property
    def is_one_class(self) -> bool:
        return self.left[1] == self.right[1]


@dataclass(frozen=True)
class DuplicatesSection:
    """Near duplicates of the data, as the step `duplicates` found them."""

    how: str
    """How they were looked for, in words."""
    counts: list[tuple[str, int]]
    """Where, and how many pairs."""
    rows: dict[str, int]
    """Images of each split that is held out."""
    twins: dict[str, int]
    """Of these, such as have a near duplicate in train."""
    accuracies: list[tuple[str, dict[str, WithAndWithout]]]
    """Of each model, the best first: its name, and its accuracies by split."""
    pairs: list[ShownPair]
    file: str
    """Where the store has all of them."""


class Counts(NamedTuple):
    """Of a split."""

    split: str
    rows: int
    suspected: int
    implausible: int
    """Of these, such as the model holds for all but impossible: IMPLAUSIBLE."""


class ShownLabel(NamedTuple):
    """A suspect on a sheet."""

    box: tuple[int, int, int, int]
    """Left, top, width and height on the sheet."""
    split: str
    given: str
    suggested: str
    percent: str
    """Probability of the label that is given."""
    suggested_percent: str


@dataclass(frozen=True)
class LabelsSection:
    """Labels of validation and test, as the best model sees them."""

    model: str
    counts: list[Counts]
    shown: list[ShownLabel]


@dataclass(frozen=True)
class Doubts:
    """What a report says of them."""

    duplicates: DuplicatesSection | None
    why_no_duplicates: str
    """Why there are none; empty where that is not known."""
    labels: LabelsSection | None
    """None without models."""
    pictures: dict[str, str]
    """Name → data: address."""

    @property
    def alerts(self) -> list[str]:
        """A sentence on each thing that a reader must know first."""
        return [
            *(leak_alerts(self.duplicates) if self.duplicates else []),
            *(label_alerts(self.labels) if self.labels else []),
        ]


def names_of_doubts(models: Collection[object], beside: Iterable[Ref]) -> list[str]:
    """The pictures of a report on `models`, and on what stands `beside` them."""
    return [*([NEAR_DUPLICATES] if duplicates_of(beside) else []), *([SUSPECTED_LABELS] if models else [])]


def duplicates_of(beside: Iterable[Ref]) -> Ref | None:
    """The near duplicates among these outputs."""
    return next((ref for ref in beside if ref.uri.startswith(f"{STEPS['duplicates'].root}/")), None)


def leak_alerts(found: DuplicatesSection) -> list[str]:
    """What to know of held-out images that have a near duplicate in train: none where there are none."""
    leaked = {split: count for split, count in found.twins.items() if count}
    if not leaked:
        return []
    counts = " and ".join(f"{count:,} of {found.rows[split]:,} {split} images" for split, count in leaked.items())
    return [
        f"{counts} {'has' if sum(leaked.values()) == 1 else 'have'} a near duplicate in train.{_without(found, leaked)}"
    ]


def _without(found: DuplicatesSection, leaked: dict[str, int]) -> str:
    """What that does to the best model; empty without models."""
    if not found.accuracies:
        return ""
    name, accuracies = found.accuracies[0]
    changes = [
        f"{shown(accuracies[split].without)} on {split} instead of {shown(accuracies[split].whole)}"
        for split in leaked
        if split in accuracies and accuracies[split].without is not None
    ]
    left_out = "it" if sum(leaked.values()) == 1 else "them"
    return f" Without {left_out}, {name} has an accuracy of {' and '.join(changes)}." if changes else ""


def label_alerts(found: LabelsSection) -> list[str]:
    """What to know of labels that are probably wrong: none where there are few."""
    many = [
        each for each in found.counts if each.implausible >= LEAST_LABELS and each.implausible > MANY_LABELS * each.rows
    ]
    if not many:
        return []
    counts = " and ".join(
        f"{each.implausible:,} of {each.rows:,} {each.split} images "
        f"({each.implausible / each.rows * 100:.1f}\N{NO-BREAK SPACE}%)"
        for each in many
    )
    return [
        f"{counts} seem to have a wrong label: {found.model} holds it for much less likely than chance. Look at the "
        "suspected labels."
    ]
