"""Pure functions from data to figures, and from a figure to a PNG. No pyplot, no global state, any MPLBACKEND."""

import io
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image

from lib.data.datasets import readable
from lib.evaluation.intervals import Interval
from lib.evaluation.metrics import Calibration
from lib.reporting.fonts import Drawn, drawn, fonts_of

mpl.rcdefaults()  # with a matplotlibrc of the user's, equal results would have other pictures

# Okabe and Ito's palette: told apart by colour-blind readers too.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"
SPLIT_COLOURS = {"train": BLUE, "validation": ORANGE, "test": GREEN}
MANY_CLASSES = 20
COLUMN_CLASSES = 50
MOST_NAMED = 150
NAME_LETTERS = 28
DPI = 110
COLOURS = 64
"""Of a picture's palette: enough for text and bars, and half the size of a picture without one."""


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    canvas: Any = FigureCanvasAgg(figure)  # whatever MPLBACKEND says
    canvas.draw()  # once: savefig would draw twice where a layout is to be worked out
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    _with_palette(pixels).save(buffer, "png")
    return buffer.getvalue()


def _with_palette(pixels: Image.Image) -> Image.Image:
    reduced = pixels.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette = np.array(reduced.getpalette(), np.uint8).reshape(-1, 3)
    ground = np.asarray(reduced)[0, 0]
    palette[ground] = np.asarray(pixels)[0, 0]  # a mean of all that is nearly white would tint the page
    reduced.putpalette(palette.ravel().tolist())
    return reduced


def class_distribution(counts: Mapping[str, Sequence[int]], class_names: Sequence[str]) -> Figure:
    """Rows of each class in each split, as bars side by side. `counts` is split → rows by class."""
    if len(class_names) > MOST_NAMED:
        return _by_number(counts, "class number", "rows")
    figure, columns = _columns(_drawn(class_names), 0.3 if len(class_names) > MANY_CLASSES else 0.42, 1.2)
    for axis, chosen in columns:
        height = 0.8 / len(counts)
        for offset, (split, rows) in enumerate(counts.items()):
            axis.barh(
                [place + (offset - (len(counts) - 1) / 2) * height for place in range(len(chosen))],
                [rows[number] for number in chosen],
                height,
                label=split,
                color=SPLIT_COLOURS.get(split, GREY),
            )
        axis.set_xlabel("rows")
        axis.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
    handles, labels = columns[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(counts), frameon=False)
    return figure


def learning_curves(history: pd.DataFrame) -> Figure:
    """Loss and accuracy by epoch. Columns epoch and phase (from 1), loss and accuracy, and these two of validation."""
    figure = _figure(11, 4.8)
    epochs = history["epoch"]
    left, right = figure.subplots(1, 2)
    for axis, name in ((left, "loss"), (right, "accuracy")):
        axis.plot(epochs, history[name], "o-", ms=4, color=BLUE, label="train: during the epoch, with any augmentation")
        axis.plot(epochs, history[f"validation_{name}"], "s-", ms=4, color=ORANGE, label="validation: after the epoch")
        for first in history.index[history["phase"].diff() > 0]:
            axis.axvline(epochs[first] - 0.5, color=GREY, ls="--", lw=1)
            phase = f" phase {history['phase'][first]}"
            axis.annotate(phase, (epochs[first] - 0.5, 1), xycoords=("data", "axes fraction"), va="top", xytext=(0, -3),
                          textcoords="offset points", color="#444444", fontsize=9)  # fmt: skip
        axis.set_xlabel("epoch")
        axis.set_ylabel(name)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
        axis.margins(y=0.12)
        axis.grid(alpha=0.3)
        _open(axis)
    right.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure


def accuracies(names: Sequence[str], values: Sequence[float], intervals: Sequence[Interval]) -> Figure:
    """Each model's accuracy on validation as a dot and its 95 % interval as a bar, in the order given, from the top."""
    figure = _figure(8, 0.4 * len(names) + 1.1)
    axis = figure.subplots()
    places = range(len(names))
    bars = np.abs(np.array(intervals).T - values)
    axis.errorbar(values, places, xerr=bars, fmt="o", color=BLUE, ecolor=GREY, capsize=3)
    axis.set_yticks(places, [_as_drawn(name) for name in names])
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlabel("accuracy on validation")
    axis.xaxis.set_major_locator(MaxNLocator(6))
    axis.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    _open(axis)
    return figure


def reliability_diagram(calibration: Calibration) -> Figure:
    """Accuracy of images by the probability of their predicted class, before and after scaling by the temperature."""
    figure = _figure(5.6, 5.4)
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], "--", color=GREY, lw=1, label="what probabilities promise")
    shown = ((calibration.raw, "o", ORANGE, "as predicted"), (calibration.scaled, "s", BLUE, "with the temperature"))
    for side, marker, colour, label in shown:
        points = side.points
        bars = [[p.accuracy - p.interval.low for p in points], [p.interval.high - p.accuracy for p in points]]
        places = [p.confidence for p in points], [p.accuracy for p in points]
        axis.errorbar(*places, np.maximum(bars, 0), fmt=marker, ms=5, color=colour, elinewidth=1, label=label)
    for each in (axis.xaxis, axis.yaxis):
        each.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axis.set_xlim(0, 1.02)
    axis.set_ylim(0, 1.02)
    axis.set_xlabel("probability of the predicted class")
    axis.set_ylabel("share of these images that are right")
    axis.grid(alpha=0.3)
    _open(axis)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def fonts_for(class_names: Sequence[str]) -> dict[str, str] | None:
    """What a record must say of fonts, so that who draws the pictures again knows whether others draw them."""
    return fonts_of(map(_as_drawn, class_names)) if len(class_names) <= MOST_NAMED else None


def _drawn(class_names: Sequence[str]) -> Drawn:
    return drawn([_as_drawn(name) for name in class_names])


def _as_drawn(name: str) -> str:
    """A class name on one line, cut to what a picture has room for, and as text: matplotlib takes $…$ for a formula."""
    line = " ".join(readable(name).split())
    shown = line if len(line) <= NAME_LETTERS else f"{line[: NAME_LETTERS - 1]}…"
    letters = (letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in shown)
    return "".join(letters).replace("$", r"\$")


def _by_number(values: Mapping[str, Sequence[float]], x: str, y: str) -> Figure:
    """A line for each of `values`, of classes too many to be named."""
    figure = _figure(11, 4.8)
    axis = figure.subplots()
    for name, series in values.items():
        axis.step(range(len(series)), series, where="mid", label=name, color=SPLIT_COLOURS.get(name, BLUE))
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    _open(axis)
    figure.legend(loc="outside upper center", ncols=len(values), frameon=False)
    return figure


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))


def _open(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)


def _columns(names: Drawn, line: float, margin: float) -> tuple[Figure, list[tuple[Axes, range]]]:
    """Axes side by side for horizontal bars, each with its part of `names`, `line` inches a name, top to bottom."""
    size = min(len(names.labels), COLUMN_CLASSES)
    count = ceil(len(names.labels) / size)
    figure = _figure(6.5 * count + 0.5, line * size + margin)
    axes = figure.subplots(1, count, squeeze=False, sharex=True)[0]
    parts = [range(column * size, min((column + 1) * size, len(names.labels))) for column in range(count)]
    for axis, part in zip(axes, parts, strict=True):
        axis.set_yticks(range(len(part)), names.labels[part.start : part.stop], fontsize=9, **names.style)
        axis.set_ylim(size - 0.4, -0.6)
        axis.grid(axis="x", alpha=0.3)
        axis.set_axisbelow(True)
        _open(axis)
    return figure, list(zip(axes, parts, strict=True))
