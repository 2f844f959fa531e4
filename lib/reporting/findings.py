"""What a report finds in the figures of its models, all on validation: who won, what to mind, what changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lib.evaluation.metrics import SplitMetrics
from lib.lineage.manifests import Manifest, Ref, load
from lib.models.changes import changes
from lib.reporting.alerts import alerts
from lib.reporting.changed import Changed, changed
from lib.reporting.classes import Grouped, Superclasses, grouped, read_superclasses, superclass_accuracy
from lib.reporting.decision import Decision, decide
from lib.reporting.leaderboard import Group, right_of
from lib.reporting.makers import input_name
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


def recorded(
    store: Store,
    address: str,
    prepared: Manifest,
    evaluations: Sequence[Ref],
    groups: Sequence[Group],
    show_test: bool,
) -> dict[str, Any]:
    """What a report at `address`, over `evaluations` in `groups`, records of today so that it is the same tomorrow.

    The recipes of this code may be others then, and the report before this one gone.
    """
    models = {input_name(ref): load(store, load(store, ref).inputs["model"]) for ref in evaluations}
    facts = prepared.facts
    return {
        "changes": {name: changes(model.facts) for name, model in models.items()},
        "commands": commands(facts["dataset"], facts["limit"], [*models.values()], show_test)._asdict(),
        "previous": find_previous(store, address, groups[0][0].evaluation, facts) if groups else None,
    }


def findings_of(
    store: Store,
    prepared: Manifest,
    groups: Sequence[Group],
    rows: Sequence[Mapping[str, Any]],
    previous: Previous | None,
    record: Mapping[str, Any],
) -> Findings:
    """Of `groups`, the best first, with their `rows` of the leaderboard, and of what `recorded` gave.

    Of several seeds, the first of the group, which is the best on validation, stands for classes and changes.
    """
    names = [row["model"] for row in rows]
    validation = [group[0].metrics["validation"] for group in groups]
    superclasses = read_superclasses(store, prepared)
    since = changed(names[0], previous) if names and previous else None
    return Findings(
        decision=decide(rows, [right_of(group, "validation") for group in groups]),
        alerts=alerts(names[0], validation[0], since) if names else [],
        changed=since,
        superclasses=_superclasses(names, validation, superclasses) if names and superclasses else None,
        frame=frame_of(validation[0], superclasses) if names else None,
        commands=Commands(**record.get("commands", {"lines": [], "without": 0})),
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
