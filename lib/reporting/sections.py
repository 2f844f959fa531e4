"""What a report says of the data and of each model, read from the store."""

import base64
import json
import math
from dataclasses import dataclass
from typing import Any

from lib.data.datasets import DATASETS, readable
from lib.evaluation.metrics import SplitMetrics
from lib.manifests import Manifest, Ref, load, local_file
from lib.store import Store

SPLITS = ("train", "dev", "test")
SHOWN_PIXELS = 4


@dataclass(frozen=True)
class DataSection:
    """The data set as it was prepared."""

    ref: Ref
    facts: dict[str, Any]
    source: dict[str, Any]
    """The dataset's own facts: licence and source."""
    title: str
    citation: str
    labels: list[tuple[int, str, list[int]]]
    """Number, class name, and rows in train, dev and test."""
    shapes: list[tuple[str, str, str]]
    """Split, and the shapes of its images and labels."""
    channels: dict[str, list[float]]
    pixels: list[tuple[str, list[str]]]
    """The describe table: name of the statistic, and its value for each shown pixel."""
    pixel_names: list[str]
    pictures: dict[str, str]


@dataclass(frozen=True)
class ModelSection:
    """One model: how it was trained and what it reaches."""

    name: str
    evaluation: Ref
    model: Ref
    facts: dict[str, Any]
    settings: list[tuple[str, str]]
    layers: list[dict[str, Any]]
    metrics: dict[str, SplitMetrics]
    made_by: dict[str, Any]
    pictures: dict[str, str]


def data_section(store: Store, prepared: Ref) -> DataSection:
    manifest = load(store, prepared)
    profile = json.loads(local_file(store, manifest, "profile").read_text())
    facts, spec = manifest.facts, DATASETS.get(manifest.facts["dataset"])
    counts = profile["rows_per_class"]
    shape = "×".join(map(str, facts["image_shape"]))
    count = math.prod(facts["image_shape"])
    shown = [*range(SHOWN_PIXELS), *range(count - SHOWN_PIXELS, count)]
    return DataSection(
        ref=prepared,
        facts=facts,
        source=load(store, manifest.inputs["dataset"]).facts,
        title=spec.title if spec else facts["dataset"],
        citation=spec.citation if spec else "",
        labels=[
            (number, readable(name), [counts[split][number] for split in SPLITS])
            for number, name in enumerate(facts["class_names"])
        ],
        shapes=[(split, f"{facts['rows'][split]:,}×{shape}", f"{facts['rows'][split]:,}") for split in SPLITS],
        channels=profile["channels"],
        pixels=[(name, [f"{column[pixel]:.6g}" for pixel in shown]) for name, column in profile["pixels"].items()],
        pixel_names=[f"pixel {number}" for number in shown],
        pictures=_pictures(store, manifest, ("samples", "distribution")),
    )


def model_section(store: Store, evaluation: Ref) -> ModelSection:
    manifest = load(store, evaluation)
    model = load(store, manifest.inputs["model"])
    metrics = json.loads(local_file(store, manifest, "metrics").read_text())
    return ModelSection(
        name=manifest.facts["recipe"],
        evaluation=evaluation,
        model=manifest.inputs["model"],
        facts=manifest.facts,
        settings=_settings(model.facts["recipe"]),
        layers=model.facts["layers"],
        metrics={split: SplitMetrics.model_validate(metrics[split]) for split in SPLITS},
        made_by=model.made_by,
        pictures=_pictures(store, manifest, ("curves", "confusion", "per_class", "examples")),
    )


def _settings(recipe: dict[str, Any]) -> list[tuple[str, str]]:
    """The resolved recipe, a line a setting, a phase's settings on one line."""
    lines = []
    for key, value in recipe.items():
        if key == "phases":
            lines += [(f"phase {n}", _inline(phase)) for n, phase in enumerate(value, 1)]
        elif isinstance(value, dict):
            lines.append((readable(key), _inline(value)))
        elif key != "name":
            lines.append((readable(key), "none" if value is None else str(value)))
    return lines


def _inline(values: dict[str, Any]) -> str:
    return ", ".join(f"{readable(key)} {value:g}" if isinstance(value, float) else f"{readable(key)} {value}"
                     for key, value in values.items())  # fmt: skip


def _pictures(store: Store, manifest: Manifest, names: tuple[str, ...]) -> dict[str, str]:
    """Each picture as a data: address."""
    return {
        name: "data:image/png;base64," + base64.b64encode(local_file(store, manifest, name).read_bytes()).decode()
        for name in names
    }
