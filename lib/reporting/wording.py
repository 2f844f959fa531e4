"""Settings, times and figures of a report, in words."""

from collections.abc import Sequence
from typing import Any

from lib.data.datasets import readable
from lib.evaluation.metrics import SplitMetrics, calibration_of
from lib.evaluation.paired import LEVEL

Line = tuple[str, str]
"""What is said, and of what."""


def settings(recipe: dict[str, Any]) -> list[Line]:
    """The resolved recipe, a line a setting, a phase's settings on one line."""
    lines = []
    for key, value in recipe.items():
        if key == "phases":
            lines += [(f"phase {number}", inline(_that_matter(phase))) for number, phase in enumerate(value, 1)]
        elif key != "name":
            lines.append((readable(key), inline(value) if isinstance(value, dict) else _value(value)))
    return lines


def duration(seconds: float) -> str:
    """`seconds` as a person says it: 4.2 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _that_matter(phase: dict[str, Any]) -> dict[str, Any]:
    """Without those that the optimizer or the schedule ignores."""
    idle = {"momentum"} if phase.get("optimizer") != "sgd" else set()
    if phase.get("schedule") != "decay-per-epoch":
        idle.add("decay_per_epoch")
    return {key: value for key, value in phase.items() if key not in idle}


def inline(values: dict[str, Any]) -> str:
    return ", ".join(f"{readable(key)} {_value(value)}" for key, value in values.items())


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return f"({'; '.join(map(inline, value))})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def interval(metrics: SplitMetrics, name: str) -> str:
    """`0.792 to 0.814`, the 95 % interval of one of `metrics`; empty where it has none."""
    bounds = metrics.intervals.get(name)
    return f"{bounds.low:.3f} to {bounds.high:.3f}" if bounds else ""


def calibration(metrics: SplitMetrics) -> str:
    """What a model's calibration comes to, by its `metrics` on validation or test."""
    found = calibration_of(metrics)
    verdict = "as chance alone may do" if found.raw.error <= found.raw.by_chance else "more than by chance"
    return (
        "The probability of the predicted class and the share of right images differ by "
        f"{found.raw.error:.4f} on average, {verdict} (up to {found.raw.by_chance:.4f}). With the temperature "
        f"{found.temperature:g}, which was fitted on validation, they differ by {found.scaled.error:.4f} "
        f"(chance: up to {found.scaled.by_chance:.4f})."
    )


def percent(share: float) -> str:
    """`80.3 %` of 0.803."""
    return f"{share * 100:.1f}\N{NO-BREAK SPACE}%"


def points(share: float) -> str:
    """`0.7 percentage points` of 0.007 and of -0.007: how far two shares are apart."""
    figure = f"{abs(share) * 100:.1f}"
    return f"{figure} percentage point{'' if figure == '1.0' else 's'}"


def change(share: float) -> str:
    """`+0.7` of 0.007: a difference of two shares in percentage points; nearly none has two decimals."""
    nearly_none = share and abs(share) < 0.0005
    figure = f"{share * 100:+.2f}" if nearly_none else f"{share * 100:+.1f}" if share else "0.0"
    return figure.replace("-", "\N{MINUS SIGN}")


def chance(p: float) -> str:
    """Whether a difference is more than chance, by the p of a test that there is none."""
    return "more than chance" if p <= LEVEL else "that may be chance"


def probability(p: float) -> str:
    """`p = 0.012`, or that it is very small."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.0995 else f"p = {p:.2f}"


def several(names: Sequence[str], most: int = 4) -> str:
    """`a, b and c`; of more than `most`, the first and how many others."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} others"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
