"""Validation accuracy over time, a line a model, worked out for a drawing in the list of a dataset's reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil, floor
from typing import NamedTuple

from lib.reporting.wording import percent

WIDTH, HEIGHT = 860, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 16, 36
"""Margins: for the axes, and on the right for names."""
LINE = 17
"""Height of a name."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#777777", "#56B4E9", "#E69F00", "#9467BD")
"""Okabe and Ito's palette, with a violet in place of black: told apart by colour-blind readers too."""
MARKS = ("m-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0", "m-4.5-4.5h9v9h-9z", "m0-6l6 6-6 6-6-6z", "m0-6l5.5 10h-11z")
"""A disc, a square, a diamond and a triangle, as SVG paths from their middle."""
MOST = 12
"""Lines: those of the best models; more cannot be told apart."""
NAME_LETTERS = 24


class Reading(NamedTuple):
    """One model in one report."""

    at: datetime
    model: str
    accuracy: float


class Point(NamedTuple):
    """Where a reading is drawn."""

    x: float
    y: float
    said: str


@dataclass(frozen=True)
class Series:
    """One model's line."""

    model: str
    label: str
    colour: str
    mark: str
    """An SVG path from the middle of a point."""
    points: list[Point]
    label_y: float

    @property
    def path(self) -> str:
        """For an SVG polyline."""
        return " ".join(f"{point.x},{point.y}" for point in self.points)


class Tick(NamedTuple):
    """Of an axis."""

    place: float
    label: str


class Trend(NamedTuple):
    """All that is drawn."""

    series: list[Series]
    left_out: int
    """Models for which there was no room."""
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    size: tuple[int, int] = (WIDTH, HEIGHT)
    frame: tuple[int, int, int, int] = (LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)
    """Left, top, right and bottom of the axes."""


def trend(readings: Sequence[Reading]) -> Trend | None:
    """Of all readings of a dataset; None where there are fewer than two moments, which make no line.

    A model that stands several times in one report has its best there.
    """
    best: dict[str, dict[datetime, float]] = {}
    for at, model, accuracy in readings:
        moments = best.setdefault(model, {})
        moments[at] = max(accuracy, moments.get(at, 0.0))
    times = sorted({each.at for each in readings})
    if len(times) < 2:
        return None
    ordered = sorted(best, key=lambda model: (-max(best[model].values()), model))
    shown = ordered[:MOST]
    values = [value for model in shown for value in best[model].values()]
    low, high, step = _scale(min(values), max(values))

    def x(at: datetime) -> float:
        share = (at - times[0]) / (times[-1] - times[0])
        return round(LEFT + 12 + share * (WIDTH - LEFT - RIGHT - 24), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - BOTTOM - TOP), 1)

    lines = {model: [(at, best[model][at]) for at in sorted(best[model])] for model in shown}
    places = _spread([y(lines[model][-1][1]) for model in shown])
    series = [
        Series(
            model=model,
            label=model if len(model) <= NAME_LETTERS else f"{model[: NAME_LETTERS - 1]}…",
            colour=COLOURS[number % len(COLOURS)],
            mark=MARKS[(number + number // len(COLOURS)) % len(MARKS)],
            points=[Point(x(at), y(value), f"{model}, {at:%Y-%m-%d}: {percent(value)}") for at, value in lines[model]],
            label_y=places[number],
        )
        for number, model in enumerate(shown)
    ]
    count = round((high - low) / step)
    y_ticks = [Tick(y(low + step * each), f"{(low + step * each) * 100:g} %") for each in range(count + 1)]
    return Trend(series, len(ordered) - len(shown), _dates(times, x(times[0]), x(times[-1])), y_ticks)


def _scale(low: float, high: float) -> tuple[float, float, float]:
    """Bounds and step of an axis that holds both, in at most six steps of 1, 2 or 5 times a power of ten."""
    for step in (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2):
        first, last = floor(low / step), ceil(round(high / step, 6))
        if last - first <= 6:
            break
    first = first if last > first else last - 1
    return round(first * step, 6), round(last * step, 6), step


def _spread(places: Sequence[float]) -> list[float]:
    """`places`, moved so that names do not overlap and all are within the drawing."""
    order = sorted(range(len(places)), key=lambda number: places[number])
    moved, lowest = list(places), float(TOP)
    for number in order:
        moved[number] = lowest = max(places[number], lowest)
        lowest += LINE
    highest = float(HEIGHT - 4)
    for number in reversed(order):
        moved[number] = highest = min(moved[number], highest)
        highest -= LINE
    return [round(place, 1) for place in moved]


def _dates(times: Sequence[datetime], left: float, right: float) -> list[Tick]:
    """The first and the last moment; with the time of day where both are of one day."""
    form = "%H:%M UTC" if times[0].date() == times[-1].date() else "%-d %b %Y"
    return [Tick(place, f"{at:{form}}") for place, at in ((left, times[0]), (right, times[-1]))]
