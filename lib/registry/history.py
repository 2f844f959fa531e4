"""The champions of a dataset: a history of numbered records, `registry/<dataset>/history/00000012.json`.

Each record is created only if its number is free, and says the digest of the record before. That is the
compare-and-swap: of two promoters one gets the number, and the other must read it and decide anew. A file that names
the champion beside a history would be two writes, torn by a kill between them; here the last record names it.
"""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from lib.errors import PermanentError, cause, explain_validation
from lib.lineage.aliases import history_folder, record_numbers, record_path
from lib.lineage.digests import digest_json
from lib.lineage.index import AT_ONCE
from lib.lineage.manifests import Ref
from lib.store import Store

Event = Literal["promote", "keep", "cannot-tell", "rollback", "force"]
CHANGED = "it was changed after it was written: bring back what was written, from a copy of the store"


class Evaluated(BaseModel):
    """A model and its own evaluation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Ref
    evaluation: Ref


class Record(BaseModel):
    """One event."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    number: int
    """From 1, as in its file's name."""
    event: Event
    champion: Evaluated
    """From this event on, until the next record."""
    challenger: Evaluated | None = None
    """What was compared with the champion before; None of a rollback."""
    prepared: Ref | None = None
    """The data on which it was."""
    decision: Ref | None = None
    """All that the gate said; None where a person decided."""
    reason: str = ""
    """In a person's words; of a decision its verdict in short."""
    before: str | None
    """sha256 of the record before, as it is stored; None of the first."""
    by: str
    """Who or what started it, in words."""
    run: str | None = None
    """The id of the Prefect run that a person started: begun again after a crash, it decides nothing twice."""
    at: str
    """When, in UTC."""

    def to_json(self) -> bytes:
        """As it is stored: with a checksum, as manifests have."""
        fields = self.model_dump(mode="json")
        return json.dumps({**fields, "checksum": digest_json(fields)}, indent=2).encode()

    @property
    def sha256(self) -> str:
        """Of what is stored."""
        return hashlib.sha256(self.to_json()).hexdigest()


@dataclass(frozen=True)
class History:
    """All records of a dataset, the first one first; there may be none."""

    dataset: str
    records: Sequence[Record]

    @property
    def champion(self) -> Evaluated | None:
        """None where no model was ever promoted."""
        return self.records[-1].champion if self.records else None

    @property
    def champion_before(self) -> Evaluated | None:
        """Whom the champion replaced, by whatever event: after a rollback, the one that was taken back."""
        others = (each.champion for each in reversed(self.records) if each.champion != self.champion)
        return next(others, None)

    def attempt(self, prepared: Ref) -> int:
        """Which challenger the next one is on this version of the data, from 1; those that met no champion apart."""
        compared = (each for each in self.records if each.decision and each.prepared == prepared and each.number > 1)
        return 1 + sum(1 for _ in compared)

    def of_run(self, run: str | None) -> Record | None:
        """The record that this run has already written."""
        return next((each for each in self.records if run is not None and each.run == run), None)

    def decided(self, challenger: Evaluated, prepared: Ref) -> Record | None:
        """The record that already compared `challenger` with today's champion on this data.

        After a rollback too: what a person took back comes back by force alone.
        """
        for before, record in pairwise(self.records):
            same = record.challenger == challenger and record.prepared == prepared
            if same and record.decision and before.champion == self.champion:
                return record
        return None


def champion(store: Store, dataset: str) -> Evaluated | None:
    """The champion of `dataset`; None where it has none. Raises PermanentError where its history is damaged."""
    return read_history(store, dataset).champion


def read_history(store: Store, dataset: str) -> History:
    """Every record of `dataset`. Raises PermanentError that names the first one that is missing or was changed."""
    numbers = record_numbers(store.list(history_folder(dataset)), dataset)
    for place, number in enumerate(numbers, 1):
        if number != place:
            raise PermanentError(
                f"the history of {dataset} in {store.uri} must have its records without a gap; "
                f"{record_path(dataset, place)} is missing: bring it back, from a copy of the store"
            )
    with ThreadPoolExecutor(AT_ONCE) as pool:
        records = list(pool.map(lambda number: _read(store, dataset, number), numbers))
    before: Record | None = None
    for record in records:
        if record.before != (expected := before.sha256 if before else None):
            changed = record_path(dataset, record.number - 1 if before else 1)
            raise PermanentError(
                f"{record_path(dataset, record.number)} in {store.uri} must follow a record of sha256 {expected}; it "
                f"names {record.before}: {changed} or it was changed after it was written: bring back what was "
                "written, from a copy of the store"
            )
        before = record
    return History(dataset, records)


def append(store: Store, history: History, event: Event, champion: Evaluated, by: str, **more: Any) -> Record | None:
    """Write the record that follows `history`; None, and nothing written, where another has taken its number.

    `more` are further fields of the record.
    """
    record = Record(
        number=len(history.records) + 1,
        event=event,
        champion=champion,
        before=history.records[-1].sha256 if history.records else None,
        by=by,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        **more,
    )
    path, data = record_path(history.dataset, record.number), record.to_json()
    # What was written, and answered with an error and sent again, is this record too.
    return record if store.create(path, data) or store.read(path) == data else None


def _read(store: Store, dataset: str, number: int) -> Record:
    path = record_path(dataset, number)
    data = store.read(path)
    try:
        fields = json.loads(data)
        checksum = fields.pop("checksum", None)
        record = Record.model_validate(fields)
    except ValidationError as error:
        raise PermanentError(f"{explain_validation(error, f'{path} in {store.uri}')}; {CHANGED}") from error
    except (AttributeError, RecursionError, TypeError, ValueError) as error:
        raise PermanentError(f"{path} in {store.uri} must be a record; {cause(error)}; {CHANGED}") from error
    if checksum != digest_json(fields) or record.to_json() != data:
        raise PermanentError(f"{path} in {store.uri} does not match its checksum; {CHANGED}")
    if record.number != number:
        raise PermanentError(f"{path} in {store.uri} must be record {number}; received {record.number}; {CHANGED}")
    return record
