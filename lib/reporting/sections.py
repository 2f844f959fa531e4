"""What a report says of the data and of each model, read from the store."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lib.data.datasets import DATASETS, readable
from lib.data.stored_profile import read_profile
from lib.evaluation.metrics import SplitMetrics
from lib.lineage.manifests import Manifest, Ref, load
from lib.lineage.provenance import Maker, Makers
from lib.lineage.steps import SPLITS
from lib.models.changes import start_of
from lib.models.schema import settings_of
from lib.reporting.classes import Extremes, extremes
from lib.reporting.leaderboard import Group
from lib.reporting.matrix import Frame, Matrix, matrix
from lib.reporting.tiles import Caption, boxes, cut
from lib.reporting.wording import Line, duration, inline, settings
from lib.store import Store

SHOWN_PIXELS = 4
SHOWN_CONFUSIONS = 10


class Art(NamedTuple):
    """All pictures of a report."""

    pictures: dict[str, bytes]
    """Name → PNG."""
    captions: dict[str, list[Caption]]
    """Of the pictures that are sheets of images: what is said of each image."""
    fonts: dict[str, str] | None = None
    """Of the plots: those that drew names of classes besides matplotlib's own, which is all where this is None."""


@dataclass(frozen=True)
class Example:
    """One image of a sheet with its caption."""

    sheet: bytes
    box: tuple[int, int, int, int]
    """Left, top, width and height on the sheet."""
    label: str
    predicted: str | None
    percent: str
    """Probability of the predicted class."""

    @property
    def is_right(self) -> bool:
        """Whether nothing else was predicted."""
        return self.predicted in {None, self.label}

    @property
    def image(self) -> str:
        """data: address of the image alone."""
        return address(cut(self.sheet, self.box))


@dataclass(frozen=True)
class DataSection:
    """The dataset as it was prepared."""

    facts: dict[str, Any]
    title: str
    citation: str
    source: str
    licence: str
    labels: list[tuple[int, str, list[int]]]
    """Number, class name, and rows in train, validation and test."""
    shapes: list[tuple[str, str, str]]
    """Split, and the shapes of its images and labels."""
    channels: dict[str, list[float]]
    pixels: list[tuple[str, list[str]]]
    """The describe table: name of the statistic, and its value for each shown pixel."""
    pixel_names: list[str]
    origin: list[Line]
    collected: list[Line]
    """How a person's own images were read; empty for a built-in dataset."""
    samples: list[Example]
    pictures: dict[str, str]
    """Name → data: address of samples and distribution."""


@dataclass(frozen=True)
class ModelSection:
    """One model, of several seeds that which is best on validation: how it was trained and what it reaches."""

    name: str
    facts: dict[str, Any]
    """Those of its evaluation."""
    recipe: dict[str, Any]
    changes: list[str]
    """What this run changed of the recipe's settings."""
    start: str
    """What a backbone started from, in words; empty without one."""
    settings: list[Line]
    layers: list[dict[str, Any]]
    metrics: dict[str, SplitMetrics]
    seeds: list[tuple[int, dict[str, SplitMetrics]]]
    """Of each of them by number, this one's included."""
    confused: list[tuple[str, str, int, int]]
    """On validation, most frequent first: true class, the class taken for it, how many, and of how many."""
    matrix: Matrix
    """Of the same."""
    extremes: Extremes
    """On validation."""
    seconds: float
    """Of training."""
    seconds_in_all: float
    """Of training all seeds."""
    origin: list[Line]
    mistakes: list[Example]
    """On validation: those that the model is surest of."""
    examples: list[Example]
    """On validation, drawn by chance."""
    pictures: dict[str, str]
    """Name → data: address of curves, reliability, mistakes and examples."""


def data_section(store: Store, prepared: Ref, art: Art, makers: Makers) -> DataSection:
    """What `prepared` and the dataset behind it say of themselves."""
    manifest = load(store, prepared)
    dataset = load(store, manifest.inputs["dataset"])
    profile = read_profile(store, manifest)
    facts, spec = manifest.facts, DATASETS.get(manifest.facts["dataset"])
    counts = profile["rows_per_class"]
    shape = " × ".join(map(str, facts["image_shape"]))
    count = math.prod(facts["image_shape"])
    shown = [*range(SHOWN_PIXELS), *range(count - SHOWN_PIXELS, count)]
    return DataSection(
        facts=facts,
        title=spec.title if spec else facts["dataset"],
        citation=spec.citation if spec else "",
        source=dataset.facts["source"],
        licence=dataset.facts["licence"],
        labels=[
            (number, readable(name), [counts[split][number] for split in SPLITS])
            for number, name in enumerate(facts["class_names"])
        ],
        shapes=[(split, f"{facts['rows'][split]:,} × {shape}", f"{facts['rows'][split]:,}") for split in SPLITS],
        channels=profile["channels"],
        pixels=[(name, [f"{column[pixel]:.6g}" for pixel in shown]) for name, column in profile["pixels"].items()],
        pixel_names=[f"pixel {number}" for number in shown],
        origin=[
            *_ref("dataset", manifest.inputs["dataset"]),
            *_ref("prepared data", prepared),
            *_maker(makers[prepared.uri]),
        ],
        collected=_collected(load(store, dataset.inputs["images"]), counts) if "images" in dataset.inputs else [],
        samples=_examples(art, "samples"),
        pictures={name: address(art.pictures[name]) for name in ("samples", "distribution")},
    )


def _collected(images: Manifest, rows_per_class: dict[str, list[int]]) -> list[Line]:
    """How a person's own images were read, by the step `images`."""
    facts = images.facts
    most, least = max(rows := rows_per_class["train"]), min(rows)
    unreadable = f"{facts['unreadable']:,}"
    return [
        ("how the images were found", facts["layout"]),
        (
            "files that cannot be read",
            unreadable + (f", see {images.files['unreadable'].path}" if facts["unreadable"] else ""),
        ),
        *((f"images converted: {name}", f"{count:,}") for name, count in facts["conversions"].items()),
        ("classes without an image in train", f"{facts['classes_without_training']:,}"),
        ("training images of the largest and of the smallest class", f"{most:,} and {least:,}"),
    ]


def model_section(
    store: Store, group: Group, name: str, art: Art, changes: Sequence[str], makers: Makers, frame: Frame
) -> ModelSection:
    """The best of `group`, to be called `name`; `changes` are what its run changed of the recipe's settings.

    `frame` is what the matrices of all models share.
    """
    drawn_as, evaluation, manifest = group[0].name, group[0].ref, group[0].evaluation
    model = load(store, manifest.inputs["model"])
    recipe = settings_of(model.facts["recipe"])
    start = start_of(model.facts["weights"]) if model.facts["weights"] else ""
    started = [("weights at the start", start)] if start else []
    metrics = group[0].metrics
    trained, evaluated = makers[manifest.inputs["model"].uri], makers[evaluation.uri]
    return ModelSection(
        name=name,
        facts=manifest.facts,
        recipe=recipe,
        changes=list(changes),
        start=start,
        settings=[*settings(recipe), *started, ("seed", str(manifest.facts["seed"]))],
        layers=model.facts.get("layers", []),
        metrics=dict(metrics),
        seeds=sorted(
            ((entry.evaluation.facts["seed"], dict(entry.metrics)) for entry in group), key=lambda each: each[0]
        ),
        confused=confused(metrics["validation"]),
        matrix=matrix(metrics["validation"], frame, art.pictures[f"{drawn_as}-confusion"]),
        extremes=extremes(metrics["validation"]),
        seconds=trained.seconds,
        seconds_in_all=sum(makers[entry.evaluation.inputs["model"].uri].seconds for entry in group),
        origin=[
            ("training time", duration(trained.seconds)),
            ("evaluation time", duration(evaluated.seconds)),
            *_maker(trained),
            *_ref("model", manifest.inputs["model"]),
            *_ref("evaluation", evaluation),
        ],
        mistakes=_examples(art, f"{drawn_as}-mistakes"),
        examples=_examples(art, f"{drawn_as}-examples"),
        pictures={
            picture: address(art.pictures[f"{drawn_as}-{picture}"])
            for picture in ("curves", "reliability", "mistakes", "examples")
        },
    )


def confused(metrics: SplitMetrics) -> list[tuple[str, str, int, int]]:
    """True class, predicted class, rows so mistaken and rows of the true class, of the most frequent mistakes."""
    names = [readable(each.name) for each in metrics.per_class]
    mistakes = [
        (names[true], names[predicted], rows, sum(line))
        for true, line in enumerate(metrics.confusion)
        for predicted, rows in enumerate(line)
        if rows and true != predicted
    ]
    return sorted(mistakes, key=lambda mistake: -mistake[2])[:SHOWN_CONFUSIONS]


def _ref(name: str, ref: Ref) -> list[Line]:
    return [(f"{name} at", ref.uri), (f"{name}, sha256", ref.sha256)]


def _maker(made: Maker) -> list[Line]:
    """The code, packages and hardware that made it."""
    commit = made.commit or "not in a git checkout"
    packages = ", ".join(f"{name} {version}" for name, version in made.packages.items())
    lines = [
        ("code, commit", commit + (", with uncommitted changes" if made.uncommitted_changes else "")),
        ("packages", f"Python {made.python}, {packages}"),
        ("hardware", f"{made.hardware.cpu}, {inline(made.hardware.model_extra or {})}"),
    ]
    return lines + [("resumed on", inline(machine)) for machine in made.resumed_on]


def _examples(art: Art, name: str) -> list[Example]:
    captions, sheet = art.captions[name], art.pictures[name]
    return [
        Example(
            sheet=sheet,
            box=box,
            label=readable(caption.label),
            predicted=None if caption.predicted is None else readable(caption.predicted),
            percent=f"{caption.confidence * 100:.0f}\N{NO-BREAK SPACE}%",
        )
        for caption, box in zip(captions, boxes(sheet, len(captions)), strict=True)
    ]


def address(picture: bytes) -> str:
    """A PNG as a data: address."""
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"
