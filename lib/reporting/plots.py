"""Pure functions from data to figures. No pyplot and no global state: any backend gives the same pixels' meaning."""

import io
from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lib.data.datasets import readable

# Okabe and Ito's palette: told apart by colour-blind readers too.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"
SPLIT_COLOURS = {"train": BLUE, "dev": ORANGE, "test": GREEN}
GRID_ROWS, GRID_COLUMNS = 4, 5
MANY_CLASSES = 20
DPI = 110


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)  # whatever MPLBACKEND says
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def sample_grid(images: np.ndarray, titles: Sequence[str]) -> Figure:
    """Up to 20 images (N, H, W, C) uint8 in 4 rows of 5, each titled."""
    figure, axes = _grid()
    for axis, image, title in zip(axes, images, titles, strict=False):
        _show(axis, image)
        axis.set_title(readable(title), fontsize=10)
    return figure


def prediction_grid(
    images: np.ndarray, labels: Sequence[str], predicted: Sequence[str], confidences: Sequence[float]
) -> Figure:
    """Up to 20 images (N, H, W, C) uint8, each with its predicted class and, where that is wrong, the true one."""
    figure, axes = _grid()
    for axis, image, label, guess, confidence in zip(axes, images, labels, predicted, confidences, strict=False):
        _show(axis, image)
        right = label == guess
        truth = "✓ right" if right else f"✗ is: {readable(label)}"
        axis.set_title(
            f"Predicted class:\n{readable(guess)} ({confidence:.0%})\n{truth}",
            fontsize=9,
            color=BLUE if right else RED,
        )
    return figure


def class_distribution(counts: Mapping[str, Sequence[int]], class_names: Sequence[str]) -> Figure:
    """Rows of each class in each split, as bars side by side. `counts` is split → rows by class."""
    names = [readable(name) for name in class_names]
    columns = ceil(len(names) / 50)
    figure = _figure(6.5 * columns + 1, 0.42 * ceil(len(names) / columns) + 1.4)
    axes = figure.subplots(1, columns, squeeze=False, sharex=True)[0]
    size = ceil(len(names) / columns)
    for column, axis in enumerate(axes):
        chosen = slice(column * size, (column + 1) * size)
        places = np.arange(len(names[chosen]))
        for offset, (split, rows) in enumerate(counts.items()):
            height = 0.8 / len(counts)
            axis.barh(
                places + (offset - (len(counts) - 1) / 2) * height,
                rows[chosen],
                height,
                label=split,
                color=SPLIT_COLOURS.get(split, GREY),
            )
        axis.set_yticks(places, names[chosen])
        axis.invert_yaxis()
        axis.set_ylim(len(places) - 0.4, -0.6)
        axis.set_xlabel("rows")
        axis.grid(axis="x", alpha=0.3)
        axis.set_axisbelow(True)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(counts), frameon=False)
    return figure


def learning_curves(history: pd.DataFrame) -> Figure:
    """Loss and accuracy by epoch. Columns epoch, phase, loss, accuracy, dev_loss, dev_accuracy."""
    figure = _figure(11, 4.2)
    for axis, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axis.plot(history["epoch"], history[name], "o-", ms=4, color=BLUE, label="train, while it learns")
        axis.plot(history["epoch"], history[f"dev_{name}"], "s-", ms=4, color=ORANGE, label="dev, after the epoch")
        for boundary in history["epoch"][history["phase"].diff() > 0]:
            axis.axvline(boundary - 0.5, color=GREY, ls="--", lw=1)
        axis.set_xlabel("epoch")
        axis.set_ylabel(name)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.set_xlim(history["epoch"].min() - 0.5, history["epoch"].max() + 0.5)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    return figure


def confusion_matrix(confusion: Sequence[Sequence[int]], class_names: Sequence[str]) -> Figure:
    """[true class][predicted class] → rows, shaded by the share of the true class."""
    rows = np.asarray(confusion)
    shares = rows / np.maximum(rows.sum(axis=1, keepdims=True), 1)
    names = [readable(name) for name in class_names]
    many = len(names) > MANY_CLASSES
    side = 0.17 * len(names) + 3.5 if many else 0.55 * len(names) + 2.8
    figure = _figure(side, side * 0.95)
    figure.set_layout_engine("compressed")  # the plain one pushes labels beside a square of 100 off the canvas
    axis = figure.subplots()
    # Small shares are where the mistakes are: a square root makes them visible.
    image = axis.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    size = 7 if many else 10
    axis.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
    axis.set_yticks(range(len(names)), names, fontsize=size)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class")
    if many:
        axis.set_xticks(np.arange(-0.5, len(names), 5), minor=True)
        axis.set_yticks(np.arange(-0.5, len(names), 5), minor=True)
        axis.grid(which="minor", color=GREY, alpha=0.25, lw=0.5)
        axis.tick_params(which="minor", length=0)
    else:
        for (line, column), count in np.ndenumerate(rows):
            if count:
                colour = "white" if shares[line, column] > 0.3 else "black"
                axis.text(column, line, f"{count}", ha="center", va="center", fontsize=8, color=colour)
    figure.colorbar(image, ax=axis, fraction=0.03, pad=0.02, shrink=0.5, label="share of the true class")
    return figure


def per_class_accuracy(recalls: Sequence[float], class_names: Sequence[str]) -> Figure:
    """The share of each class's images that were recognised, best first."""
    order = np.argsort(recalls, kind="stable")[::-1]
    names = [readable(class_names[i]) for i in order]
    values = np.asarray(recalls)[order]
    columns = 1 if len(names) <= MANY_CLASSES else 2
    size = ceil(len(names) / columns)
    figure = _figure(6 * columns, 0.24 * size + 1.2)
    for column, axis in enumerate(figure.subplots(1, columns, squeeze=False)[0]):
        chosen = slice(column * size, (column + 1) * size)
        places = np.arange(len(names[chosen]))
        axis.barh(places, values[chosen], 0.75, color=BLUE)
        axis.set_yticks(places, names[chosen], fontsize=9)
        for place, value in zip(places, values[chosen], strict=True):
            axis.text(value + 0.01, place, f"{value:.0%}", va="center", fontsize=8)
        axis.set_ylim(len(places) - 0.4, -0.6)
        axis.set_xlim(0, 1.12)
        axis.set_xticks(np.linspace(0, 1, 6), [f"{share:.0%}" for share in np.linspace(0, 1, 6)])
        axis.set_xlabel("of the class's test images recognised")
    return figure


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def _grid() -> tuple[Figure, list[Axes]]:
    figure = _figure(9.5, 9)
    axes = list(figure.subplots(GRID_ROWS, GRID_COLUMNS).flat)
    for axis in axes:
        axis.set_axis_off()
    return figure, axes


def _show(axis: Axes, image: np.ndarray) -> None:
    grey = image.shape[-1] == 1
    axis.imshow(image[..., 0] if grey else image, cmap="gray" if grey else None, vmin=0, vmax=255)
