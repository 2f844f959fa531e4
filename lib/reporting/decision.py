"""What a report comes to: which model won on validation, by how much, and whether that is more than chance."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lib.evaluation.paired import interval_of_difference, p_of_difference
from lib.reporting.wording import chance, change, percent, points, probability, several

LEAST_LEAD = 1e-9
"""Of two accuracies: what is less is rounding."""


class Decision(NamedTuple):
    """Two sentences or so that a reader who has no time takes along."""

    headline: str
    reason: str


def decide(rows: Sequence[Mapping[str, Any]], right: Sequence[np.ndarray]) -> Decision:
    """Of the `rows` of a leaderboard, each with (seeds, N) bool: which validation images its seeds have right."""
    if not rows:
        return Decision("No model was trained.", "There is nothing to decide.")
    best, equals = rows[0], [row["model"] for row in rows if row["rank"] == rows[0]["rank"]]
    lead = "is best on validation" if len(equals) == 1 else "leads on validation, and that may be chance"
    if len(rows) > 1 and best["validation_accuracy"] - rows[1]["validation_accuracy"] <= LEAST_LEAD:
        lead = "and others are level on validation"
    seeds, images = right[0].shape
    low, high = percent(best["validation_accuracy_low"]), percent(best["validation_accuracy_high"])
    headline = (
        f"{best['model']} {lead}: {percent(best['validation_accuracy'])} of {images:,} images right"
        f"{f', the mean of {seeds} seeds' if seeds > 1 else ''} (95 % interval {low} to {high})."
    )
    if len(rows) == 1:
        return Decision(headline, "It is the only model of this report, so there is nothing to compare it with.")
    return Decision(headline, f"{_margin(rows[1]['model'], right[0], right[1])} {_verdict(equals, len(rows))}".strip())


def _margin(second: str, best: np.ndarray, other: np.ndarray) -> str:
    ahead, p = float(best.mean() - other.mean()), p_of_difference(best, other)
    low, high = interval_of_difference(best, other)
    one_seed = len(best) == len(other) == 1
    test = "McNemar's exact test on the same images" if one_seed else "t test over the same images and over seeds"
    interval = f"95 % interval of the difference {change(low)} to {change(high)}"
    if ahead <= LEAST_LEAD:
        return f"It is level with {second} ({interval}), and comes first by its loss."
    return f"It leads {second} by {points(ahead)} ({interval}): {chance(p)} ({probability(p)}, {test})."


def _verdict(equals: Sequence[str], models: int) -> str:
    if len(equals) == 1:
        return "" if models == 2 else "Each of the other models can be told from it."
    return f"These images cannot tell it from {several(equals[1:])}: they share rank 1."
