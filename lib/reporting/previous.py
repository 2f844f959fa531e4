"""The last report of a dataset before a new one, and how the best model of then did on each class.

What is needed of it is recorded in the new report, which so stays the same when the older one is gone.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from lib.errors import PermanentError
from lib.lineage.index import read_index
from lib.lineage.manifests import Manifest, Ref, load
from lib.lineage.steps import STEPS
from lib.reporting.leaderboard import by_validation
from lib.reporting.makers import evaluations_of
from lib.store import Store

Chosen = tuple[np.ndarray, np.ndarray]
"""(N,) true and (N,) predicted classes of the same images."""
TRIED = 5
"""Reports that are looked at, the newest first, until all of one can be read."""


class ClassRecord(BaseModel):
    """One class on validation: how many images it has and had, and how many were found."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rows: int
    right: int
    rows_then: int
    right_then: int
    gained: int | None = None
    """Images that only the model of now has right; None where the images are not the same."""
    lost: int | None = None


class Previous(BaseModel):
    """The best model of the last report against the best of this one, on validation."""

    model_config = ConfigDict(extra="forbid", strict=True)

    report: Ref
    at: str
    model_then: str
    same_model: bool
    same_images: bool
    """Whether both were compared on the same prepared data."""
    classes: dict[str, ClassRecord]
    """Those that both have, in the order of the data."""


def find_previous(store: Store, address: str, best: Manifest, facts: Mapping[str, Any]) -> Previous | None:
    """What to record of the last report before the one to be made at `address`, whose best evaluation is `best`.

    It is of the same dataset and limit (`facts` are those of the prepared data). Reports that cannot be read, or have
    lost what they were made of, are passed over; None where there is none.
    """
    from lib.evaluation.prediction_table import read_choices  # with pandas, which who shows a leaderboard needs not

    now = read_choices(store, best, "validation")
    for place, report in _newest_first(store, address, facts):
        try:
            row = report.facts["leaderboard"][0]
            of_best = [report.inputs[name] for name in row.get("evaluations", [])] or evaluations_of(report)
            then = min((load(store, each) for each in of_best), key=by_validation)
            old = read_choices(store, then, "validation")
            names = load(store, then.inputs["prepared"]).facts["class_names"]
            model = str(row["model"])
        except (PermanentError, LookupError, ValueError):
            continue
        same_images = then.inputs["prepared"] == best.inputs["prepared"]
        return Previous(
            report=report.ref(place),
            at=report.made_by["at"],
            model_then=model,
            same_model=then.inputs["model"] == best.inputs["model"],
            same_images=same_images,
            classes=_classes(facts["class_names"], now, names, old, same_images),
        )
    return None


def _newest_first(store: Store, address: str, facts: Mapping[str, Any]) -> Iterator[tuple[str, Manifest]]:
    folder = STEPS["report"].folder.format(dataset_name=facts["dataset"])
    found = read_index(store, store.list(folder)).outputs
    chosen = [
        (place, each)
        for place, each in found.items()
        if place != address and each.kind == "report" and each.facts["limit"] == facts["limit"]
    ]
    yield from sorted(chosen, key=lambda pair: (pair[1].made_by["at"], pair[0]), reverse=True)[:TRIED]


def _classes(
    names: list[str], now: Chosen, names_then: list[str], then: Chosen, same_images: bool
) -> dict[str, ClassRecord]:
    right, right_then = (labels == predicted for labels, predicted in (now, then))
    records = {}
    for number, name in enumerate(names):
        if name not in names_then:
            continue
        own, own_then = now[0] == number, then[0] == names_then.index(name)
        counts = {"gained": right & ~right_then & own, "lost": ~right & right_then & own} if same_images else {}
        records[name] = ClassRecord(
            rows=int(own.sum()),
            right=int(right[own].sum()),
            rows_then=int(own_then.sum()),
            right_then=int(right_then[own_then].sum()),
            **{which: int(np.sum(images)) for which, images in counts.items()},
        )
    return records
