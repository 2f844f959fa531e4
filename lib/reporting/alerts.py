"""What a reader of a report must see before anything else: one sentence each, the worst first."""

from lib.data.datasets import readable
from lib.evaluation.metrics import ClassMetrics, SplitMetrics
from lib.evaluation.paired import LEVEL
from lib.reporting.changed import Changed, ClassChange
from lib.reporting.wording import percent, several

COLLAPSED = 0.25
"""Of the median class: a class that is found less often has collapsed, if that is more than chance."""
NAMED = 4
LOST = 0.2
"""By how much a class must be found less often than in the last report."""


def alerts(best: str, validation: SplitMetrics, changed: Changed | None) -> list[str]:
    """Of a report whose best model is called `best` and has these metrics on validation.

    Further kinds of alerts are further lists here.
    """
    return [
        *collapsed(best, validation),
        *(fallen(changed) if changed else []),
    ]


def collapsed(model: str, metrics: SplitMetrics) -> list[str]:
    """One sentence on the classes that `model` hardly finds while it finds the others, or none."""
    found = [each for each in metrics.per_class if each.rows]
    recalls = sorted(each.recall for each in found)
    median = recalls[len(recalls) // 2] if recalls else 0.0
    gone = [each for each in found if _has_collapsed(each, median, len(found))]
    if not gone:
        return []
    worst = sorted(gone, key=lambda each: each.recall)
    named = [f"{readable(each.name)} ({round(each.recall * each.rows)} of {each.rows:,})" for each in worst]
    subject = "A class has" if len(gone) == 1 else f"{len(gone)} classes have"
    return [
        f"{subject} collapsed: of its validation images, {model} finds hardly any of {several(named, NAMED)}, "
        f"where half of all classes have {percent(median)} or more."
    ]


def _has_collapsed(each: ClassMetrics, median: float, classes: int) -> bool:
    """Whether it is found less than COLLAPSED as often as the median class.

    So few must be less likely than LEVEL, over all classes together, for a class that is found half as often as the
    median: with 3 images of a class nothing can be said.
    """
    from scipy import special  # a third of what scipy.stats takes to import

    right = round(each.recall * each.rows)
    return each.recall < COLLAPSED * median and float(special.bdtr(right, each.rows, median / 2)) <= LEVEL / classes


def fallen(changed: Changed) -> list[str]:
    """One sentence on the classes that lost much since the last report, or none."""
    lost = [each for each in changed.classes if each.then - each.now >= LOST and each.beyond_chance]
    if not lost:
        return []
    named = several([_fall(each) for each in sorted(lost, key=lambda each: each.now - each.then)], NAMED)
    subject = "A class is" if len(lost) == 1 else f"{len(lost)} classes are"
    return [f"{subject} found much less often than in the last report: {named}."]


def _fall(each: ClassChange) -> str:
    return f"{each.name} ({percent(each.then)} then, {percent(each.now)} now)"
