"""What a report finds in the figures of its models, all on validation: who won, what to mind, what changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from lib.evaluation.metrics import SplitMetrics
from lib.lineage.manifests import MANIFEST, Manifest, Ref, foreign, load
from lib.reporting.alerts import alerts
from lib.reporting.changed import Changed, changed
from lib.reporting.classes import Grouped, Superclasses, grouped, read_superclasses, superclass_accuracy
from lib.reporting.decision import Decision, decide
from lib.reporting.leaderboard import Group, right_of
from lib.reporting.matrix import Frame, frame_of
from lib.reporting.previous import Previous, find_previous
from lib.reporting.reproduce import Commands, commands
from lib.store import Store


class SuperclassSection(NamedTuple):
    """What superclasses come to."""

    models: list[tuple[str, float, float]]
    """Name, accuracy, and accuracy where the superclass decides."""
    best: list[Grouped]
    """Each of them, for the best model."""


@dataclass(frozen=True)
class Findings:
    """What a report says first, and of all its models together."""

    decision: Decision
    alerts: list[str]
    changed: Changed | None
    """None of the first report of a dataset."""
    superclasses: SuperclassSection | None
    frame: Frame | None
    """Of the confusion matrices; None without models."""
    commands: Commands


class Recorded(BaseModel):
    """What a report keeps of the day it was made, so that it is the same tomorrow.

    The recipes of this code may be others then, and the report before this one gone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    previous: Previous | None = None
    commands: Commands = Commands()


def to_record(
    store: Store, address: str, prepared: Manifest, evaluations: Sequence[Ref], groups: Sequence[Group], show_test: bool
) -> Recorded:
    """That of a report to be made at `address`, over `evaluations` in `groups`."""
    models = [load(store, load(store, ref).inputs["model"]) for ref in evaluations]
    facts = prepared.facts
    return Recorded(
        previous=find_previous(store, address, groups[0][0].evaluation, facts) if groups else None,
        commands=commands(facts["dataset"], facts["limit"], models, show_test),
    )


def read_recorded(store: Store, report: Ref, manifest: Manifest) -> Recorded:
    """That of a stored report. Raises PermanentError where it is no such record."""
    try:
        fields = {name: manifest.made_by[name] for name in Recorded.model_fields if name in manifest.made_by}
        return Recorded.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        said = f"made_by.{first['loc'][0]}: {first['msg']}"
        raise foreign(store, f"{report.uri}/{MANIFEST}", said) from error


def findings_of(
    store: Store,
    prepared: Manifest,
    groups: Sequence[Group],
    rows: Sequence[Mapping[str, Any]],
    kept: Recorded,
) -> Findings:
    """Of `groups`, the best first, with their `rows` of the leaderboard, and of what is `kept`.

    Of several seeds, the first of the group, which is the best on validation, stands for classes and changes.
    """
    names = [row["model"] for row in rows]
    validation = [group[0].metrics["validation"] for group in groups]
    superclasses = read_superclasses(store, prepared)
    since = changed(names[0], kept.previous) if names and kept.previous else None
    return Findings(
        decision=decide(rows, [right_of(group, "validation") for group in groups]),
        alerts=alerts(names[0], validation[0], since) if names else [],
        changed=since,
        superclasses=_superclasses(names, validation, superclasses) if names and superclasses else None,
        frame=frame_of(validation[0], superclasses) if names else None,
        commands=kept.commands,
    )


def _superclasses(
    names: Sequence[str], validation: Sequence[SplitMetrics], superclasses: Superclasses
) -> SuperclassSection:
    return SuperclassSection(
        models=[
            (name, each.accuracy, superclass_accuracy(each, superclasses))
            for name, each in zip(names, validation, strict=True)
        ],
        best=grouped(validation[0], superclasses),
    )
