"""What models cost, by the records of their making: figures that differ from run to run and from machine to machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lib.lineage.manifests import load
from lib.lineage.provenance import Makers
from lib.reporting.leaderboard import Entry, Group
from lib.reporting.wording import duration
from lib.store import Store

UNKNOWN = "not recorded"


@dataclass(frozen=True)
class Cost:
    """One model, in words: UNKNOWN stands for what its record, which may be older than the figure, does not say."""

    model: str
    training_processor: str
    training_memory: str
    evaluation_processor: str
    evaluation_memory: str
    flops: str
    """To classify one image."""
    one: str
    """Images a second, one at a time."""
    many: str
    """The same in batches of 256."""
    file: str
    hardware: str
    """That the evaluation ran on, and so the speeds are of."""


def costs(store: Store, groups: Sequence[Group], rows: Sequence[Mapping[str, Any]], makers: Makers) -> list[Cost]:
    """Of the best model of each of `groups`, which the `rows` of the leaderboard name."""
    return [_cost(store, group[0], str(row["model"]), makers) for group, row in zip(groups, rows, strict=True)]


def _cost(store: Store, entry: Entry, name: str, makers: Makers) -> Cost:
    model = entry.evaluation.inputs["model"]
    trained, evaluated = makers[model.uri], makers[entry.ref.uri]
    speed = evaluated.images_per_second
    return Cost(
        model=name,
        training_processor=_duration(trained.processor_seconds),
        training_memory=_size(trained.peak_memory_bytes),
        evaluation_processor=_duration(evaluated.processor_seconds),
        evaluation_memory=_size(evaluated.peak_memory_bytes),
        flops=UNKNOWN if evaluated.flops is None else _operations(evaluated.flops),
        one=_rate(speed.get("1")),
        many=_rate(speed.get("256")),
        file=_size(load(store, model).files["model"].size_bytes),
        hardware=evaluated.hardware.cpu,
    )


def _duration(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else duration(seconds)


def _size(size_bytes: int | None) -> str:
    return UNKNOWN if size_bytes is None else f"{_three(size_bytes / 1e6)} MB"


def _operations(count: int) -> str:
    """In millions."""
    return f"{_three(count / 1e6)} M"


def _rate(images: float | None) -> str:
    return UNKNOWN if images is None else _three(images)


def _three(value: float) -> str:
    """At least three digits, and none of less than a hundredth."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
