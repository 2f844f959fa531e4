"""Accuracy on corrupted images, drawn: a small panel for each corruption."""

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import PercentFormatter

from lib.evaluation.corrupted import UNCHANGED
from lib.reporting.plots import BLUE, DPI, GREEN, GREY, ORANGE, RED, png
from lib.reporting.robustness import MOST_DRAWN, SEVERITY_NAMES, TITLES, RobustModel

STYLES = (("o", "-", BLUE), ("s", "--", ORANGE), ("^", "-.", GREEN), ("D", ":", RED), ("v", (0, (5, 1, 1, 1)), GREY))
"""Marker, line and colour: in black and white the first two are enough."""
IN_A_LINE = 3


def robustness_png(models: Sequence[RobustModel]) -> bytes:
    """The first MOST_DRAWN of `models`: accuracy by severity with 95 % intervals, on one scale."""
    lines = ceil(len(TITLES) / IN_A_LINE)
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Drawing(figsize=(10, 2.7 * lines + 0.6), dpi=DPI, layout=layout)
    panels = figure.subplots(lines, IN_A_LINE, sharex=True, sharey=True, squeeze=False)
    for axis, (corruption, title) in zip(panels.flat, TITLES.items(), strict=False):
        for style, model in zip(STYLES, models[:MOST_DRAWN], strict=False):
            _line(axis, model, corruption, style)
        axis.set_title(title, fontsize=11)
        axis.set_xticks(range(len(SEVERITY_NAMES)), SEVERITY_NAMES)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    panels[0, 0].set_ylim(0, 1.02)
    panels[0, 0].yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    figure.supxlabel("severity", fontsize=11)
    figure.supylabel("accuracy", fontsize=11)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(3, len(labels)), frameon=False)
    return png(figure)


def _line(axis: Axes, model: RobustModel, corruption: str, style: tuple[str, Any, str]) -> None:
    marker, line, colour = style
    points = [*model.figures[UNCHANGED], *model.figures[corruption]]
    values = [point.accuracy for point in points]
    bars = [[p.accuracy - p.interval.low for p in points], [p.interval.high - p.accuracy for p in points]]
    axis.errorbar(
        range(len(points)), values, np.maximum(bars, 0), marker=marker, ls=line, ms=5, color=colour, elinewidth=1,
        capsize=2, label=model.name.replace("$", r"\$"),
    )  # fmt: skip
