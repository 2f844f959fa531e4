"""A model card in Hugging Face's format: README.md, with its figures as YAML in front."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lib.evaluation.intervals import LEVEL
from lib.evaluation.metrics import ClassMetrics, SplitMetrics, calibration_of
from lib.lineage.manifests import Manifest, Ref, load
from lib.lineage.steps import SPLITS
from lib.store import Store

TEMPLATES = Path(__file__).parent / "templates"
TASK = "image-classification"
TOP = 5
"""Of no more classes than these, the top five hold the right one always."""
WEAKEST = 5
"""Classes that the card names."""
COLOURS = {1: "grey", 3: "colour (RGB)"}


class Figure(NamedTuple):
    """A metric as a card has it."""

    field: str
    """Of `SplitMetrics`."""
    title: str
    type: str
    """What Hugging Face calls it."""
    interval: str
    """How its interval is made."""


FIGURES = (
    Figure("accuracy", "accuracy", "accuracy", "Wilson"),
    Figure("top5_accuracy", "top-5 accuracy", "top_5_accuracy", "Wilson"),
    Figure("macro_f1", "macro F1", "f1", "bootstrap"),
    Figure("loss", "loss", "loss", "bootstrap"),
)


def model_card(store: Store, model: Ref, metrics: Mapping[str, SplitMetrics], trained: Mapping[str, Any]) -> bytes:
    """The card of `model`: its figures are `metrics` of validation and test, and `trained` says who trained it.

    That is its `made_by`, which is handed over: a model that was lost and trained again is the same, by another.
    Equal values give equal bytes.
    """
    made = load(store, model)
    prepared = load(store, made.inputs["prepared"])
    dataset = prepared.inputs["dataset"]
    held_out = {split: metrics[split] for split in SPLITS if metrics[split].calibration}
    height, width, channels = prepared.facts["image_shape"]
    names, recipe = prepared.facts["class_names"], made.facts["recipe"]
    facts, tested = load(store, dataset).facts, metrics["test"].per_class
    text: str = _template().render(
        front_matter=_yaml(_front_matter(made, prepared, facts["licence"], held_out)),
        recipe=recipe["name"],
        model=made.facts,
        data=prepared.facts,
        dataset=facts,
        ref=model,
        prepared=made.inputs["prepared"],
        inputs={**made.inputs, "dataset": dataset},
        trained=trained,
        height=height,
        width=width,
        channels=channels,
        colours=COLOURS.get(channels, f"{channels} channels"),
        names=names,
        names_literal=json.dumps(names, ensure_ascii=False),  # a list of Python too
        settings=_yaml({name: value for name, value in recipe.items() if name != "name"}),
        metrics=held_out,
        figures=_figures(len(names)),
        guess_loss=math.log(len(names)),
        weakest=_weakest(tested),
        untested=sum(not each.rows for each in tested),
        temperature=calibration_of(metrics["test"]).temperature,
        kept_best=recipe.get("keep") == "best",
        stopped_early="early_stopping_epochs" in recipe,
    )
    return text.encode()


def plain(text: str) -> str:
    """`text` with nothing in it that markdown or HTML would act on."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", text)


def _front_matter(
    model: Manifest, prepared: Manifest, licence: str, metrics: Mapping[str, SplitMetrics]
) -> dict[str, Any]:
    """What Hugging Face reads of a card. `license` is not stated: that of the data is not the model's."""
    name = prepared.facts["dataset"]
    results = [
        {
            "task": {"type": TASK, "name": "Image classification"},
            "dataset": {
                "type": name,
                "name": name,
                "split": split,
                "revision": model.inputs["prepared"].sha256,
                "args": {"images": each.rows, "training_images": prepared.facts["rows"]["train"]},
            },
            "metrics": [_metric(split, figure, each) for figure in _figures(len(each.per_class))],
        }
        for split, each in metrics.items()
    ]
    return {
        "library_name": "keras",
        "pipeline_tag": TASK,
        "tags": ["keras", TASK, name],
        "data_licence": licence or "not known",
        "model-index": [{"name": model.facts["recipe"]["name"], "results": results}],
    }


def _metric(split: str, figure: Figure, metrics: SplitMetrics) -> dict[str, Any]:
    """A metric with its interval: as a value for programs, and in its name for people."""
    low, high = metrics.intervals[figure.field]
    return {
        "type": figure.type,
        "name": f"{figure.title} on {split}, {LEVEL:.0%} interval {shown(low)} to {shown(high)}".replace("%", " %"),
        "value": getattr(metrics, figure.field),
        "args": {"interval": [low, high], "level": LEVEL, "method": figure.interval}
        | ({"average": "macro"} if figure.field == "macro_f1" else {}),
    }


def _figures(classes: int) -> list[Figure]:
    return [each for each in FIGURES if classes > TOP or each.field != "top5_accuracy"]


def _weakest(classes: list[ClassMetrics]) -> list[ClassMetrics]:
    """Those recognised least on test, the least first; none that was recognised throughout."""
    mistaken = [each for each in classes if each.rows and each.recall < 1]
    return sorted(mistaken, key=lambda each: each.recall)[:WEAKEST]


def shown(value: float) -> str:
    """A figure with four decimals."""
    return f"{value:.4f}"


def _yaml(values: Any) -> str:
    """Lines of YAML; whatever stands in a text, none of them begins with dashes."""
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1_000)
    return text


def _template() -> Any:
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {
        "plain": lambda text: plain(" ".join(text.split())),
        "shown": shown,
        "count": "{:,.0f}".format,
    }
    return templates.get_template("card.md.j2")
