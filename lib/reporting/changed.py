"""What changed since the last report of a dataset: its best model then against the best now, class by class."""

from datetime import datetime
from typing import NamedTuple

from lib.data.datasets import readable
from lib.evaluation.paired import LEVEL, holm, lowest_difference, mcnemar
from lib.reporting.pages import moment
from lib.reporting.previous import ClassRecord, Previous
from lib.reporting.wording import chance, change, percent, points, probability

SHOWN = 5
"""Classes that gained most, and that lost most."""


class ClassChange(NamedTuple):
    """One class on validation."""

    name: str
    then: float
    """Share of its images that the best model found."""
    now: float
    p: float
    """That chance alone makes such a difference; adjusted for the number of classes (Holm)."""

    @property
    def beyond_chance(self) -> bool:
        """Whether the two can be told apart."""
        return self.p <= LEVEL


class Changed(NamedTuple):
    """All that is said of it."""

    short: str
    """In a sentence."""
    said: str
    """In several."""
    test: str
    """Which test tells classes apart."""
    gained: list[ClassChange]
    lost: list[ClassChange]
    classes: list[ClassChange]
    """All, in the order of the data."""
    beyond_chance: int
    """How many classes can be told apart."""


def changed(name: str, previous: Previous) -> Changed:
    """Of `previous` and the best model now, which is called `name`."""
    ps = holm([_p(each) for each in previous.classes.values()]) if previous.classes else []
    classes = [
        ClassChange(readable(each), record.right_then / record.rows_then, record.right / record.rows, p)
        for (each, record), p in zip(previous.classes.items(), ps, strict=True)
        if record.rows and record.rows_then
    ]
    by_change = sorted(classes, key=lambda each: each.now - each.then)
    short, said = _said(name, previous)
    return Changed(
        short=short,
        said=said,
        test="McNemar's exact test on the same images" if previous.same_images else "Fisher's exact test",
        gained=[each for each in by_change[::-1] if each.now > each.then][:SHOWN],
        lost=[each for each in by_change if each.now < each.then][:SHOWN],
        classes=classes,
        beyond_chance=sum(each.beyond_chance for each in classes),
    )


def _said(name: str, previous: Previous) -> tuple[str, str]:
    """In short, and all of it."""
    when = moment(datetime.fromisoformat(previous.at))
    rows, right, rows_then, right_then, gained, lost = (
        sum(getattr(each, field) or 0 for each in previous.classes.values()) for field in ClassRecord.model_fields
    )
    if previous.same_model or not rows or not rows_then:
        same = f"{previous.model_then} was the best model of the last report too ({when}): the very same model."
        none = f"The last report ({when}) was of other classes: nothing can be compared."
        return (same, same) if previous.same_model else (none, none)
    now, then = right / rows, right_then / rows_then
    size = f"{points(now - then)} {'more' if now > then else 'less'}" if now != then else "the same"
    if previous.same_images:
        p, low = mcnemar(gained, lost), lowest_difference(gained, lost, rows, LEVEL / 2)
        high = -lowest_difference(lost, gained, rows, LEVEL / 2)
        test = f"95 % interval {change(low)} to {change(high)}, {probability(p)}, McNemar's exact test"
        images = f"Both were compared on the same {rows:,} images."
    else:
        p = fisher(right, rows, right_then, rows_then)
        test = f"{probability(p)}, Fisher's exact test"
        images = f"The data were prepared anew: {rows_then:,} images then, {rows:,} others now."
    moved = f"{'rose' if now > then else 'fell'} by {points(now - then)}: {chance(p)}"
    way = moved if now != then else "stayed the same"
    short = f"Since the last report ({when}) the accuracy of the best model on validation {way}."
    best = f"Its best model, {previous.model_then}, had {percent(then)} of validation right; {name} now has"
    said = f"The last report is of {when}. {best} {percent(now)}: {size} ({test}), which is {chance(p)}. {images}"
    return short, said


def _p(record: ClassRecord) -> float:
    if record.gained is None or record.lost is None:
        return fisher(record.right, record.rows, record.right_then, record.rows_then)
    return mcnemar(record.gained, record.lost)


def fisher(right: int, rows: int, right_then: int, rows_then: int) -> float:
    """p of Fisher's exact test that both shares are the same."""
    from scipy import stats  # a second to import

    table = [[right, rows - right], [right_then, rows_then - right_then]]
    return float(stats.fisher_exact(table).pvalue)
