"""Figures are whole: every name is there, and nothing is written beside the canvas."""

import io
from functools import cache
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from lib.data.datasets import DATASETS
from lib.reporting import fonts, plots

FEW = DATASETS["fashion-mnist"].class_names
MANY = DATASETS["cifar100"].class_names


def readable(names: tuple[str, ...]) -> set[str]:
    return {name.replace("_", " ") for name in names}


def history(epochs: int, phases: list[int] | None = None) -> pd.DataFrame:
    falling = np.linspace(2, 0.3, epochs)
    return pd.DataFrame(
        {
            "epoch": range(1, epochs + 1),
            "phase": phases or [0] * epochs,
            "loss": falling,
            "accuracy": 1 - falling / 3,
            "validation_loss": falling + 0.2,
            "validation_accuracy": 0.9 - falling / 3,
        }
    )


def distribution(names: tuple[str, ...]) -> Figure:
    counts = {"train": [5_000] * len(names), "validation": [1_000] * len(names), "test": [1_000] * len(names)}
    return plots.class_distribution(counts, names)


@cache
def drawn(names: tuple[str, ...]) -> tuple[Figure, bytes]:
    """The figure as its PNG shows it: not to be drawn again, since a second layout mends the first."""
    figure = distribution(names)
    return figure, plots.png(figure)


def outside(figure: Figure) -> list[str]:
    """The texts of a drawn figure that reach over the canvas's edge."""
    width, height = figure.canvas.get_width_height()
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown(figure)]
    return [text for text, box in boxes if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height]


def shown(figure: Figure) -> list[Text]:
    """Without the labels of ticks outside an axis's limits, which matplotlib holds and does not draw."""
    hidden = set()
    for axes in figure.axes:
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not axes.axison or not min(limits) <= tick.get_loc() <= max(limits):
                    hidden |= {id(tick.label1), id(tick.label2)}
    return [text for text in figure.findobj(Text) if text.get_text().strip() and id(text) not in hidden]


@pytest.mark.parametrize("names", [FEW, MANY], ids=["10 classes", "100 classes"])
def test_no_text_lies_outside_the_canvas_and_the_png_is_small(names: tuple[str, ...]) -> None:
    figure, data = drawn(names)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(data) < 400_000
    assert outside(figure) == []


@pytest.mark.parametrize("names", [FEW, MANY], ids=["10 classes", "100 classes"])
def test_every_class_is_named_and_no_name_runs_into_the_next(names: tuple[str, ...]) -> None:
    figure, _ = drawn(names)
    found = set()
    for axis in figure.axes:
        labels = [tick.label1 for tick in axis.yaxis.get_major_ticks() if tick.label1.get_text() in readable(names)]
        found |= {label.get_text() for label in labels}
        boxes = sorted(label.get_window_extent().intervaly.tolist() for label in labels)
        assert all(above[0] > below[1] - 1 for below, above in pairwise(boxes))
    assert found == readable(names)


def test_bars_show_the_rows_of_each_split() -> None:
    axis = plots.class_distribution({"train": [5, 6], "validation": [1, 2]}, ["cat", "dog"]).axes[0]
    assert [[bar.get_width() for bar in bars] for bars in axis.containers] == [[5, 6], [1, 2]]
    assert [bars.get_label() for bars in axis.containers] == ["train", "validation"]


@pytest.mark.parametrize("epochs", [1, 2, 50])
def test_curves_of_any_length_have_whole_epochs_on_their_axis(epochs: int) -> None:
    figure = plots.learning_curves(history(epochs))
    assert len(plots.png(figure)) < 400_000
    assert outside(figure) == []
    for axis in figure.axes:
        assert [len(line.get_xdata()) for line in axis.lines] == [epochs, epochs]
        low, high = axis.get_xlim()
        ticks = [tick for tick in axis.get_xticks() if low <= tick <= high]
        assert ticks
        assert all(tick == int(tick) for tick in ticks)


def test_a_line_stands_between_two_phases() -> None:
    axis = plots.learning_curves(history(5, phases=[0, 0, 1, 1, 1])).axes[0]
    assert list(axis.lines[2].get_xdata()) == [2.5, 2.5]
    assert len(axis.lines) == 3


HOSTILE = {
    "$\\frac{1}{": r"$\frac{1}{",
    "$a$ and $b$": "$a$ and $b$",
    "US$": "US$",
    r"\$": r"\$",
    "a\0b\x1bc": "a�b�c",
    "two\nlines\tand a tab": "two lines and a tab",
    "\u202eright to left": "�right to left",
    "עברית": "עברית",
    "x" * 5_000: "x" * 27 + "…",
    "many words " * 500: "many words many words many …",
    "snake_case": "snake case",
}


@pytest.mark.filterwarnings("error")
def test_letters_that_no_font_has_are_the_number_of_the_class_and_those_that_one_has_are_drawn_in_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    of_matplotlib = [font for font in fonts.fontManager.ttflist if "mpl-data" in font.fname]
    monkeypatch.setattr(fonts.fontManager, "ttflist", of_matplotlib)
    fonts._fonts_with.cache_clear()
    names = ("rose", "\u73ab\u7470", "arrow \u2900", "\U0001f339 rose")  # DejaVu Serif has \u2900
    figure = distribution(names)
    plots.png(figure)
    labels = figure.axes[0].get_yticklabels()
    assert {label.get_text() for label in labels} == {"rose", "class 1", "arrow \u2900", "class 3"}
    assert {tuple(label.get_fontfamily()) for label in labels} == {("DejaVu Sans", "DejaVu Serif")}
    assert list(plots.fonts_for(names) or {}) == ["DejaVu Serif"]
    assert plots.fonts_for(["rose", "\u0648\u0631\u062f\u0629"]) is None
    assert caplog.records == []
    fonts._fonts_with.cache_clear()


@pytest.mark.filterwarnings("error")
def test_a_class_name_is_drawn_as_text_and_cut_to_what_there_is_room_for() -> None:
    figure = distribution(tuple(HOSTILE))
    plots.png(figure)
    (axis, *_) = figure.axes
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert not any(map(is_math_text, labels))
    assert [label.replace(r"\$", "$") for label in labels] == list(HOSTILE.values())  # as matplotlib does


def test_more_classes_than_can_be_named_are_drawn_without_names() -> None:
    figure = distribution(tuple(f"class {number}" for number in range(2_000)))
    assert max(figure.get_size_inches()) < 30
    assert not any("class 1999" in text.get_text() for text in figure.findobj(Text))


def test_a_png_has_the_figures_size_and_its_white_ground() -> None:
    pixels = imread(io.BytesIO(plots.png(plots.learning_curves(history(1)))))
    assert pixels.shape[:2] == (528, 1210)  # 4.8 × 11 inches at 110 dots
    assert pixels[0, 0, :3].tolist() == [1.0, 1.0, 1.0]
