"""Champions, records and decisions in words: for the command line, the log and who else shows them."""

from lib.lineage.manifests import Manifest, find
from lib.registry.gate import level_of
from lib.registry.history import Evaluated, Record
from lib.registry.promotion import Next
from lib.store import Store


def name_of(model: Evaluated) -> str:
    """`digits-cnn/8783459c86451b54`, from models/digits/digits-cnn/8783459c86451b54."""
    return "/".join(model.model.uri.split("/")[2:])


def summary(store: Store, dataset: str, record: Record) -> str:
    """What became of it, in one line."""
    champion, said = name_of(record.champion), record.event.replace("-", " ")
    stays = record.event in {"keep", "cannot-tell"}
    needed = _needed(store, record)
    takes = f"; it would take about {needed:,} images" if needed else ""
    because = f": {record.reason}" if record.reason else ""
    role = f"{'stays' if stays else 'is'} the champion of {dataset}"
    return f"{said}: {champion} {role} (record {record.number}){because}{takes}"


def reasons(store: Store, record: Record) -> list[str]:
    """The sentences of the record's decision; none where a person decided, or where retention has removed it."""
    decision = _decision(store, record)
    return list(decision.facts["reasons"]) if decision else []


def row_of(record: Record) -> tuple[str, ...]:
    """A row of a table: number, when, event, champion, challenger, by whom and why."""
    challenger = name_of(record.challenger) if record.challenger else ""
    by = f"{record.by}: {record.reason}" if record.reason else record.by
    return str(record.number), record.at, record.event, name_of(record.champion), challenger, by


def ahead_of(dataset: str, ahead: Next, chosen_from: int = 1) -> list[str]:
    """What a promotion would do, line by line."""
    champion, challenger = ahead.history.champion, name_of(ahead.challenger)
    if ahead.done:
        what = "is the champion" if ahead.challenger == champion else f"was compared before: {ahead.done.event}"
        return [f"Nothing to do: {challenger} {what} (record {ahead.done.number})"]
    if champion is None:
        return [f"{dataset} has no champion: {challenger} would become champion without a comparison"]
    best_of, level = f", the best of {chosen_from:,}" if chosen_from > 1 else "", level_of(ahead.attempt, chosen_from)
    return [
        f"Would compare {challenger} with the champion of {dataset}, {name_of(champion)}",
        f"It is challenger {ahead.attempt:,} on {ahead.prepared.uri}{best_of}: p must be at most {level:.4g}",
    ]


def _needed(store: Store, record: Record) -> int | None:
    decision = _decision(store, record)
    return decision.facts["rows_needed"] if decision else None


def _decision(store: Store, record: Record) -> Manifest | None:
    found = find(store, record.decision.uri) if record.decision else None
    return found[1] if found else None
