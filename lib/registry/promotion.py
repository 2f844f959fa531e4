"""A challenger meets the champion, and a record is written of it; or a person decides."""

from collections.abc import Callable
from typing import NamedTuple

from lib.errors import NotFound, PermanentError, printable
from lib.lineage.index import newest
from lib.lineage.manifests import Manifest, Ref, address_of, find, load
from lib.lineage.steps import STEPS
from lib.registry.decisions import require_comparable
from lib.registry.history import Evaluated, History, Record, append, read_history
from lib.reporting.summary import best_model
from lib.store import Store

TRIES = 10
"""As often another promoter may be faster."""
Decide = Callable[[Ref, Ref | None, int], Ref]
"""Evaluations of challenger and champion, and which challenger it is on this data → the decision."""
ANOTHER_WAY = "--force --reason TEXT names a champion without a comparison, and --rollback returns to the one before"


class Promotion(NamedTuple):
    """What became of it."""

    record: Record
    new: bool
    """False where the store had the record before."""


class Next(NamedTuple):
    """What a promotion would do."""

    history: History
    challenger: Evaluated
    prepared: Ref
    attempt: int
    """Which challenger it is on this data, from 1."""
    done: Record | None
    """The record that already says what becomes of it."""


def find_challenger(store: Store, dataset: str, model: str | None) -> tuple[Evaluated, int]:
    """The model that `model` names by an address; if None, the best on validation of the newest report of `dataset`.

    And from how many models it was chosen by these images: a report has so many, and of one that is named it is not
    known. Raises PermanentError where there is none, or none that was evaluated.
    """
    if model is None:
        report, note = newest(store, STEPS["report"].folder.format(dataset_name=dataset))
        if report is None or not report.facts["leaderboard"]:
            why = f" ({note})" if note else ""
            raise PermanentError(
                f"without --model the newest report of {dataset} names the challenger; {store.uri} has none{why}: "
                f"train first, python -m flows.train --dataset {dataset}"
            )
        return challenger_of(store, report.ref(report.files["index"].path.rpartition("/")[0]))
    rule = "model (--model REF) must name a model"
    address = address_of(model, store.uri, rule)
    found = find(store, address)
    if found and found[1].kind == "evaluation":
        found = find(store, found[1].inputs["model"].uri)
    if not found or found[1].kind != "model":
        raise PermanentError(f"{rule} in {store.uri}, such as models/{dataset}/<recipe>/<key>; received {address}")
    if (other := found[1].facts["dataset"]) != dataset:
        raise PermanentError(f"{rule} of {dataset}; received {address}, which is of {other}")
    return evaluated(store, found[0]), 1


def challenger_of(store: Store, report: Ref) -> tuple[Evaluated, int]:
    """The best model on validation of `report`, and of how many. Raises PermanentError where it has none."""
    models = sum(name.startswith("evaluation-") for name in load(store, report).inputs)
    return evaluated(store, best_model(store, report)[1]), models


def evaluated(store: Store, model: Ref) -> Evaluated:
    """`model` and its evaluation. Raises PermanentError where it has none of this version of the code."""
    facts = load(store, model).facts
    names = {"dataset_name": facts["dataset"], "recipe_name": facts["recipe"]["name"]}
    found = find(store, STEPS["evaluation"].address(**names, model=model))
    if not found:
        raise PermanentError(
            f"a model must be evaluated before it is promoted; {model.uri} in {store.uri} has no evaluation of this "
            "version of the code: train it again, which finds the model and only evaluates it"
        )
    return Evaluated(model=model, evaluation=found[0])


def look_ahead(store: Store, dataset: str, challenger: Evaluated) -> Next:
    """What `promote` would do now. Raises PermanentError where the two cannot be compared."""
    history = read_history(store, dataset)
    prepared = load(store, challenger.evaluation).inputs["prepared"]
    done = history.records[-1] if challenger == history.champion else history.decided(challenger, prepared)
    if not done:
        if history.champion:
            require_there(store, dataset, history.champion)
        require_comparable(store, challenger.evaluation, history.champion.evaluation if history.champion else None)
    return Next(history, challenger, prepared, history.attempt(prepared), done)


def promote(store: Store, dataset: str, challenger: Evaluated, by: str, decide: Decide) -> Promotion:
    """Compare `challenger` with the champion and write the record, unless a record says what became of it.

    A run that was killed before the record finds its decision again. Where another promoter was faster, its record is
    read and the challenger meets whoever is champion now. Raises PermanentError where they cannot be compared.
    """
    for _ in range(TRIES):
        ahead = look_ahead(store, dataset, challenger)
        if ahead.done:
            return Promotion(ahead.done, new=False)
        before = ahead.history.champion
        decision = decide(challenger.evaluation, before.evaluation if before else None, ahead.attempt)
        if record := record_decision(store, ahead, decision, by):
            return Promotion(record, new=True)
    raise PermanentError(f"{TRIES} other promotions of {dataset} came first; run again when fewer are under way")


def record_decision(store: Store, ahead: Next, decision: Ref, by: str) -> Record | None:
    """Write the record of `decision`, which was made as `ahead` says; None where another record came first."""
    facts = load(store, decision).facts
    champion = ahead.challenger if facts["verdict"] == "promote" else ahead.history.champion
    if champion is None:
        raise PermanentError(f"{decision.uri} must promote the first model; received {facts['verdict']}")
    return append(
        store,
        ahead.history,
        facts["verdict"],
        champion,
        by,
        challenger=ahead.challenger,
        prepared=ahead.prepared,
        decision=decision,
    )


def roll_back(store: Store, dataset: str, by: str, reason: str = "", run: str | None = None) -> Record:
    """Make the champion before champion again, once in a `run`. A second rollback takes the first one back."""
    history = read_history(store, dataset)
    if done := history.of_run(run):
        return done
    if not (before := history.champion_before):
        raise PermanentError(
            f"a rollback returns to the champion before; {dataset} has had {'one' if history.records else 'none'} in "
            f"{store.uri}"
        )
    require_there(store, dataset, before)
    return _first(append(store, history, "rollback", before, by, reason=printable(reason), run=run), dataset)


def force(store: Store, dataset: str, challenger: Evaluated, by: str, reason: str, run: str | None = None) -> Record:
    """Make `challenger` champion because a person says so; once, whatever happens to that `run`."""
    history = read_history(store, dataset)
    if done := history.of_run(run):
        return done
    prepared = load(store, challenger.evaluation).inputs["prepared"]
    more = {"challenger": challenger, "prepared": prepared, "reason": printable(reason), "run": run}
    return _first(append(store, history, "force", challenger, by, **more), dataset)


def require_there(store: Store, dataset: str, champion: Evaluated) -> tuple[Manifest, Manifest]:
    """Its model and evaluation. Raises PermanentError where one of them is gone."""
    try:
        return load(store, champion.model), load(store, champion.evaluation)
    except NotFound as error:
        raise PermanentError(
            f"the history of {dataset} names {champion.model.uri} as champion, and it cannot be used: {error}; bring "
            f"it back from a copy of the store; {ANOTHER_WAY}"
        ) from error


def _first(record: Record | None, dataset: str) -> Record:
    if record is None:
        raise PermanentError(f"another record of {dataset} came first: look at --history, and run again")
    return record
