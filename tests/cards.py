"""A model to write a card of: manifests alone, and figures that are worked out by hand."""

from collections.abc import Sequence
from typing import Any

from lib.evaluation.intervals import Interval
from lib.evaluation.metrics import Calibration, ClassMetrics, Reliability, SplitMetrics
from lib.lineage.manifests import Ref, commit
from lib.store import Store
from tests.whole import whole_manifest

TRAINED = {
    "at": "2026-11-28T10:00:00+00:00",
    "seconds": 75.4,
    "commit": "c" * 40,
    "uncommitted_changes": False,
    "python": "3.11.7",
    "packages": {"keras": "3.15.1", "numpy": "2.4.6"},
    "hardware": {"cpu": "A <processor>"},
}


def figures(names: Sequence[str], rows: int, accuracy: float) -> SplitMetrics:
    """Of images that are all of the last class."""
    classes = [ClassMetrics(name=name, precision=0.0, recall=0.0, f1=0.0, rows=0) for name in names[:-1]]
    reliability = Reliability(error=0.125, by_chance=0.0625, points=[])
    return SplitMetrics(
        rows=rows,
        loss=1 / 3,
        accuracy=accuracy,
        top5_accuracy=1.0,
        macro_f1=accuracy / 2,
        per_class=[*classes, ClassMetrics(name=names[-1], precision=1.0, recall=accuracy, f1=accuracy, rows=rows)],
        confusion=[],
        intervals={
            "accuracy": Interval(accuracy - 0.05, accuracy + 0.04),
            "top5_accuracy": Interval(0.96, 1.0),
            "macro_f1": Interval(accuracy / 4, accuracy / 2 + 0.01),
            "loss": Interval(1e-5, 2 / 3),
        },
        calibration=Calibration(temperature=1.5, raw=reliability, scaled=reliability),
    )


def metrics_of(names: Sequence[str]) -> dict[str, SplitMetrics]:
    """Split → its figures."""
    train = figures(names, 300, 0.9).model_copy(update={"intervals": {}, "calibration": None})
    return {"train": train, "validation": figures(names, 100, 0.8), "test": figures(names, 200, 0.7)}


def stored_model(
    store: Store, names: Sequence[str], licence: str = "CC0", source: str = "here", recipe: Any = None, **facts: Any
) -> Ref:
    """A model of images of these classes, on whose manifest, and those of its data, a card depends."""
    data = {"dataset": "toy", "image_shape": [6, 5, 1], "class_names": [*names]}
    rows = {"train": 300, "validation": 100, "test": 200}
    made_of: dict[str, Ref] = {}
    for kind, address, said in (
        ("dataset", "datasets/toy/1", {**data, "licence": licence, "source": source}),
        ("prepared", "prepared/toy/1", {**data, "rows": rows}),
        ("model", "models/toy/toy-net/1", {"dataset": "toy", "recipe": {"name": "toy-net", **(recipe or {})}, **facts}),
    ):
        ref = commit(store, address, whole_manifest(kind, address, inputs=made_of, facts=said))
        made_of = {kind: ref}
    return ref
