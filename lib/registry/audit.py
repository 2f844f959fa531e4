"""Verify a history of champions: its chain, and that each record follows from its decision and those before."""

from collections.abc import Callable

from lib.errors import PermanentError, counted
from lib.lineage.aliases import record_path
from lib.lineage.manifests import Manifest, Ref, find, load
from lib.lineage.verify import Tell, verify
from lib.registry.decisions import CHALLENGER, CHAMPION
from lib.registry.gate import CANNOT_TELL, KEEP, PROMOTE
from lib.registry.history import History, Record, read_history
from lib.registry.promotion import require_there
from lib.store import Store

VERDICTS = {PROMOTE, KEEP, CANNOT_TELL}


def verify_history(
    store: Store,
    dataset: str,
    tell: Tell = lambda address, manifest: None,
    sha256: str | None = None,
    warn: Callable[[str], None] = lambda message: None,
) -> History:
    """Check every record of `dataset`, and each decision with all that it was made of, where retention left it.

    `sha256` is that of the last record, if it was kept elsewhere: of a record changed at the end of a chain, and of
    records taken from there, nothing else tells. Raises PermanentError that names the first record that does not hold.
    """
    history = read_history(store, dataset)
    if not history.records:
        raise PermanentError(f"{dataset} has no champion in {store.uri}: no record lies in registry/{dataset}/history")
    if sha256 and sha256 != (received := history.records[-1].sha256):
        last = record_path(dataset, len(history.records))
        raise PermanentError(f"{last} is not what was asked for: expected sha256 {sha256}, received {received}")
    told: set[str] = set()
    decisions = check_records(store, history)
    for decision in decisions:
        verify(store, decision.uri, _once(tell, told), decision.sha256, warn, told)
    champion = history.records[-1].champion
    require_there(store, dataset, champion)
    verify(store, champion.evaluation.uri, _once(tell, told), champion.evaluation.sha256, warn, told)
    if gone := sum(record.decision is not None for record in history.records) - len(decisions):
        warn(f"{counted(gone, 'decision')} of old records removed by retention; all else of these records holds")
    return history


def check_records(store: Store, history: History) -> list[Ref]:
    """Check that each record follows from those before it and from its decision; those decisions that are there.

    Raises PermanentError that names the first record that does not.
    """
    decisions = []
    for number, record in enumerate(history.records):
        before = History(history.dataset, history.records[:number])
        _check_event(before, record)
        if record.decision and find(store, record.decision.uri):
            _check_decision(store, before, record, record.decision)
            decisions.append(record.decision)
    return decisions


def _once(tell: Tell, told: set[str]) -> Tell:
    def once(address: str, manifest: Manifest) -> None:
        told.add(address)
        tell(address, manifest)

    return once


def _check_event(before: History, record: Record) -> None:
    """What the event says of the champion and of what stands beside it."""
    by_the_gate = record.event in VERDICTS
    if (record.decision is not None) != by_the_gate:
        raise _wrong(before, record, "a decision must stand beside a verdict of the gate, and beside no other event")
    if record.event != "rollback" and not (record.challenger and record.prepared):
        raise _wrong(before, record, f"{record.event} must name challenger and prepared")
    if record.event == "rollback":
        right = before.champion_before
    else:
        right = record.challenger if record.event in {"promote", "force"} else before.champion
    if record.champion != right:
        named = right.model.uri if right else "none"
        raise _wrong(
            before, record, f"after {record.event} the champion must be {named}; received {record.champion.model.uri}"
        )


def _check_decision(store: Store, before: History, record: Record, decision: Ref) -> None:
    """That it is of these two models, on this data, the so many-th, and says what the record does."""
    manifest = load(store, decision)
    challenger, champion = manifest.inputs[CHALLENGER], manifest.inputs.get(CHAMPION)
    prepared = load(store, challenger).inputs["prepared"]
    said = {
        "its event": (record.event, manifest.facts["verdict"]),
        "its challenger": (record.challenger and record.challenger.evaluation, challenger),
        "the champion before": (before.champion and before.champion.evaluation, champion),
        "its data": (record.prepared, prepared),
        "the number of its challenger": (before.attempt(prepared), manifest.facts["attempt"]),
    }
    for what, (received, right) in said.items():
        if right != received:
            shown, named = (each.uri if isinstance(each, Ref) else each for each in (received, right))
            raise _wrong(before, record, f"{what} must be {named}, as {decision.uri} says; received {shown}")


def _wrong(before: History, record: Record, rule: str) -> PermanentError:
    return PermanentError(f"{record_path(before.dataset, record.number)}: {rule}")
