"""Should a challenger replace the champion? A verdict from paired results, and its reasons as sentences with numbers.

Numbers alone decide: no store, no clock, no chance. docs/promotion.md explains the rules and shows how often they err.
"""

from collections.abc import Callable, Mapping
from math import pi
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from lib.evaluation.intervals import Interval
from lib.evaluation.paired import LEVEL, Discordant, holm, lowest_difference, mcnemar, rows_needed

PROMOTE, KEEP, CANNOT_TELL = "promote", "keep", "cannot-tell"
LARGEST_LOSS = 0.01
"""Of accuracy on test: that the challenger does not lose more must be shown, at LEVEL."""
CLASS_LOSS = 0.1
"""Of the accuracy of one class on test, which may not be lost."""
CALIBRATION_LOSS = 0.02
"""By how much the calibration error may grow."""
POWER = 0.8
"""Of the images that are said to be needed: how often they would show such a gain."""
FIRST = "No champion before: the first model becomes champion, and nothing was compared."


class Rules(BaseModel):
    """What a person may choose."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_gain: float = Field(0.002, ge=0, lt=1, allow_inf_nan=False)
    """The least gain of accuracy on validation for which a champion is replaced."""
    max_slowdown: float = Field(2.0, gt=0, allow_inf_nan=False)
    """How many times as long as the champion the challenger may take."""


class CalibrationError(NamedTuple):
    """On test, of probabilities at the model's temperature."""

    error: float
    interval: Interval


class Latency(NamedTuple):
    """Of predicting one batch, both models in turns on the same machine."""

    champion_s: float
    challenger_s: float
    """Medians."""
    ratio: float
    """The median of challenger ÷ champion, pair by pair."""
    pairs: int
    rows: int
    """Of the batch."""


class HeldOut(NamedTuple):
    """What is looked at once, after the challenger has won on validation."""

    test: Discordant
    classes: Mapping[str, Discordant]
    """The same of the test images of each class."""
    champion: CalibrationError
    challenger: CalibrationError
    latency: Latency


class Decision(NamedTuple):
    """What the gate says."""

    verdict: str
    reasons: list[str]
    rows_needed: int | None
    """Where it cannot tell: about how many images of that split it would take. None too where no number would do."""
    tests: dict[str, Any]
    """Each test with its numbers, as JSON has them."""


class Finding(NamedTuple):
    """What one test says; `verdict` is that of the gate if there were no other test."""

    verdict: str
    reason: str
    numbers: dict[str, Any]
    rows_needed: int | None = None


def level_of(attempt: int, chosen_from: int = 1) -> float:
    """α of the `attempt`-th challenger on one version of the data, from 1: over any number of them they sum to LEVEL.

    So equal challengers, one a day for ever, replace a champion with probability LEVEL at most. Σ 1/k² = π²/6. One that
    is the best of several on these very images has a part of it (Bonferroni): the best of many equals looks better.
    """
    return LEVEL * 6 / (pi * attempt) ** 2 / chosen_from


def decide(
    validation: Discordant, attempt: int, rules: Rules, held_out: Callable[[], HeldOut], chosen_from: int = 1
) -> Decision:
    """Whether the challenger of `validation` (the first of the pair) replaces the champion.

    It was chosen as the best of `chosen_from` models on validation. `held_out` is called only where validation speaks
    for the challenger: test is read as seldom as can be.
    """
    found = {"validation": _on_validation(validation, attempt, rules, chosen_from)}
    if found["validation"].verdict == PROMOTE:
        seen = held_out()
        found |= {
            "test": _on_test(seen.test),
            "calibration": _calibration(seen.champion, seen.challenger),
            "classes": _classes(seen.classes),
            "latency": _latency(seen.latency, rules),
        }
    verdicts = [each.verdict for each in found.values()]
    verdict = next((each for each in (KEEP, CANNOT_TELL) if each in verdicts), PROMOTE)
    needed = [each.rows_needed for each in found.values() if each.rows_needed and each.verdict == verdict]
    return Decision(
        verdict=verdict,
        reasons=[each.reason for each in found.values()],
        rows_needed=needed[0] if verdict == CANNOT_TELL and needed else None,
        tests={name: {**each.numbers, "verdict": each.verdict} for name, each in found.items()},
    )


def first_champion() -> Decision:
    """Where there is nothing to compare with."""
    return Decision(PROMOTE, [FIRST], None, {})


def _on_validation(pair: Discordant, attempt: int, rules: Rules, chosen_from: int) -> Finding:
    """Better, by chance in at most α_k, and by enough."""
    gained, lost, rows = pair
    gain, p, level = (gained - lost) / rows, mcnemar(gained, lost, "greater"), level_of(attempt, chosen_from)
    highest = -lowest_difference(lost, gained, rows)
    numbers = {**_counts(pair), "gain": gain, "p": p, "level": level, "attempt": attempt, "highest_gain": highest}
    least = f"the least gain asked for, {_points(rules.min_gain)}"
    best_of = f", and the best of {chosen_from:,} on these images," if chosen_from > 1 else ""
    seen = (
        f"On validation the challenger alone is right on {gained:,} and the champion alone on {lost:,} of {rows:,} "
        f"images: a gain of {_points(gain)}. McNemar's exact one-sided test gives p = {p:.4g}; as challenger "
        f"{attempt:,} on this data{best_of} it must have at most {level:.4g}"
    )
    if p <= level and gain >= rules.min_gain:
        return Finding(PROMOTE, f"{seen}, and it has.", numbers)
    if p <= level:
        return Finding(KEEP, f"{seen}, and it has. But the gain is below {least}.", numbers)
    if highest < rules.min_gain:
        return Finding(
            KEEP, f"{seen}. The true gain is at most {_points(highest)} (95 % bound): below {least}.", numbers
        )
    apart, discordance = max(gain, rules.min_gain), max((gained + lost) / rows, gain, rules.min_gain)
    needed = rows_needed(apart, discordance, level=level, sides=1, power=POWER)
    takes = (
        f"to show a gain of {_points(apart)} would take about {needed:,} validation images"
        if needed
        else "no number of images shows a gain of nothing"
    )
    may_be = f"The true gain may still be {_points(highest)} (95 % bound), so that they cannot tell: {takes}."
    return Finding(CANNOT_TELL, f"{seen}. {may_be}", numbers, needed)


def _on_test(pair: Discordant) -> Finding:
    """Not worse than by LARGEST_LOSS."""
    gained, lost, rows = pair
    difference, lowest = (gained - lost) / rows, lowest_difference(*pair)
    numbers = {**_counts(pair), "difference": difference, "lowest": lowest}
    seen = (
        f"On test the challenger alone is right on {gained:,} and the champion alone on {lost:,} of {rows:,} images: "
        f"a difference of {_points(difference)}, and truly at least {_points(lowest)} (95 % bound)"
    )
    rule = f"at least {_points(-LARGEST_LOSS)} must be shown"
    if lowest >= -LARGEST_LOSS:
        return Finding(PROMOTE, f"{seen}; {rule}, and is.", numbers)
    if difference <= -LARGEST_LOSS:
        return Finding(KEEP, f"{seen}; {rule}, and is not.", numbers)
    needed = _rows_for_bound(pair)
    return Finding(
        CANNOT_TELL,
        f"{seen}; {rule}, for which about {needed:,} test images like these would be needed.",
        numbers,
        needed,
    )


def _rows_for_bound(pair: Discordant) -> int:
    """At how many images with these shares the bound would be high enough. The difference must be above it."""

    def enough(rows: int) -> bool:
        gained, lost = (round(count * rows / pair.rows) for count in (pair.gained, pair.lost))
        return lowest_difference(gained, lost, rows) >= -LARGEST_LOSS

    low, high = pair.rows, 2 * pair.rows
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _calibration(champion: CalibrationError, challenger: CalibrationError) -> Finding:
    """Confidence must not mean less: an error that is larger by CALIBRATION_LOSS and beyond chance is a veto."""
    worse = challenger.error - champion.error
    ruined = worse >= CALIBRATION_LOSS and challenger.interval.low > champion.interval.high
    numbers = {
        name: {"error": each.error, "low": each.interval.low, "high": each.interval.high}
        for name, each in (("champion", champion), ("challenger", challenger))
    }
    said = " and ".join(
        f"{each.error:.4f} ({each.interval.low:.4f} to {each.interval.high:.4f}) of the {name}"
        for name, each in (("challenger", challenger), ("champion", champion))
    )
    rule = f"worse by {CALIBRATION_LOSS} and beyond both intervals is not allowed{', and it is' if ruined else ''}"
    return Finding(
        KEEP if ruined else PROMOTE, f"The calibration error on test, after temperature, is {said}; {rule}.", numbers
    )


def _classes(classes: Mapping[str, Discordant]) -> Finding:
    """No class may lose CLASS_LOSS of its accuracy beyond chance: McNemar's exact test, adjusted for all classes."""
    pairs = {name: pair for name, pair in classes.items() if pair.rows}
    adjusted = holm([mcnemar(lost, gained, "greater") for gained, lost, _ in pairs.values()])
    losses: list[dict[str, Any]] = [
        {"name": name, **_counts(pair), "loss": (pair.lost - pair.gained) / pair.rows, "p": p}
        for (name, pair), p in zip(pairs.items(), adjusted, strict=True)
    ]
    losses.sort(key=lambda each: (-each["loss"], each["name"]))
    lost = [each for each in losses if each["loss"] >= CLASS_LOSS and each["p"] <= LEVEL]
    numbers = {"compared": len(losses), "lost": lost, "largest_loss": losses[0]}
    if lost:
        named = ", ".join(f"{each['name']} {_points(each['loss'])} (p = {each['p']:.4g})" for each in lost[:5])
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        rule = f"no class may lose {_points(CLASS_LOSS)} of accuracy beyond chance (McNemar's exact test, by Holm)"
        return Finding(KEEP, f"On test {rule}; the challenger loses of {named}{more}.", numbers)
    largest = losses[0]
    return Finding(
        PROMOTE,
        f"Of {len(losses):,} classes none loses {_points(CLASS_LOSS)} of accuracy on test beyond chance; the largest "
        f"change is {_points(-largest['loss'])} of {largest['name']} (p = {largest['p']:.4g} by Holm).",
        numbers,
    )


def _latency(latency: Latency, rules: Rules) -> Finding:
    slow = latency.ratio > rules.max_slowdown
    return Finding(
        KEEP if slow else PROMOTE,
        f"For {latency.rows:,} images the challenger takes {latency.ratio:.2f} times as long as the champion "
        f"({1e3 * latency.challenger_s:.2f} and {1e3 * latency.champion_s:.2f} ms, medians of {latency.pairs:,} pairs "
        f"in turns); {rules.max_slowdown:g} times is allowed{', which is exceeded' if slow else ''}.",
        latency._asdict(),
    )


def _counts(pair: Discordant) -> dict[str, int]:
    return {"gained": int(pair.gained), "lost": int(pair.lost), "rows": int(pair.rows)}


def _points(share: float) -> str:
    """A difference of accuracies as a person says it: 0.0132 is 1.32 points."""
    return f"{100 * share:.2f} points"
