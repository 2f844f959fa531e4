"""A challenger meets the champion: what is recorded, whoever else promotes, and wherever a run is killed."""

import signal
import subprocess
import sys
from pathlib import Path
from threading import Barrier, Thread

import pytest

from lib.errors import PermanentError
from lib.lineage.manifests import Ref, load
from lib.lineage.verify import check_output
from lib.registry import decisions
from lib.registry.audit import check_records
from lib.registry.gate import Latency
from lib.registry.history import Evaluated, Record, read_history
from lib.registry.promotion import Promotion, force, look_ahead, promote, roll_back
from lib.registry.wording import ahead_of, reasons, summary
from lib.store import LocalStore, Store, open_store

from .made import model, prepared_data

GOOD, SAME, BETTER, BEST, WORSE = range(100), range(4, 104), range(60), range(20), range(160)
"""Which images they mistake."""


@pytest.fixture(autouse=True)
def latency(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that exist in name alone are all as fast."""
    monkeypatch.setattr(decisions, "_measure", lambda *_: Latency(0.01, 0.01, 1.0, 31, 32))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def compared(store: Store, challenger: Evaluated) -> Promotion:
    return promote(store, "toy", challenger, "a test", lambda *made_of: decisions.decide(store, *made_of))


def test_each_challenger_gets_a_record_with_its_verdict_and_reasons(store: LocalStore) -> None:
    found = [compared(store, model(store, *each)).record for each in
             (("first", GOOD), ("same", SAME), ("worse", WORSE), ("better", BETTER))]  # fmt: skip
    assert [record.event for record in found] == ["promote", "cannot-tell", "keep", "promote"]
    assert [record.champion.model.uri.rsplit("/")[-1] for record in found] == ["first", "first", "first", "better"]
    assert reasons(store, found[0]) == [
        "No champion before: the first model becomes champion, and nothing was compared."
    ]
    assert [len(reasons(store, record)) for record in found] == [1, 1, 1, 5]
    # 4 and 4 of 1,000; the level of the first challenger after the first champion.
    assert (
        "alone is right on 4 and the champion alone on 4 of 1,000 images: a gain of 0.00" in reasons(store, found[1])[0]
    )
    assert "as challenger 3 on this data" in reasons(store, found[3])[0]
    assert summary(store, "toy", found[3]) == "promote: net/better is the champion of toy (record 4)"
    assert summary(store, "toy", found[1]).startswith(
        "cannot tell: net/first stays the champion of toy (record 2); it would take about "
    )
    assert len(check_records(store, read_history(store, "toy"))) == 4
    for record in found:
        assert record.decision
        assert check_output(store, record.decision) == ""
    assert found[0].decision
    store.delete(f"{found[0].decision.uri}/manifest.json")  # as retention does
    assert len(check_records(store, read_history(store, "toy"))) == 3
    assert reasons(store, found[0]) == []


def test_what_was_compared_is_not_compared_again_not_even_after_a_rollback(store: LocalStore) -> None:
    first, better, same = model(store, "first", GOOD), model(store, "better", BETTER), model(store, "same", SAME)
    for each in (first, same, better):
        assert compared(store, each).new
    assert compared(store, better) == Promotion(read_history(store, "toy").records[-1], new=False)
    assert roll_back(store, "toy", "a test", "it is slow in the field").champion == first
    again = compared(store, better)
    assert (again.new, again.record.number, again.record.event) == (False, 3, "promote")
    assert compared(store, same).record.number == 2
    assert len(read_history(store, "toy").records) == 4
    assert roll_back(store, "toy", "a test").champion == better, "a rollback of a rollback"
    assert check_records(store, read_history(store, "toy"))


def test_a_rollback_that_a_run_was_asked_for_is_done_once(store: LocalStore) -> None:
    for each in (("first", GOOD), ("better", BETTER)):
        compared(store, model(store, *each))
    once = roll_back(store, "toy", "a run", run="7")
    assert roll_back(store, "toy", "a run", run="7") == once
    assert roll_back(store, "toy", "a run", run="8").number == 4


def test_without_a_champion_before_there_is_no_rollback(store: LocalStore) -> None:
    with pytest.raises(PermanentError, match="returns to the champion before; toy has had none in"):
        roll_back(store, "toy", "a test")
    compared(store, model(store, "first", GOOD))
    with pytest.raises(PermanentError, match="returns to the champion before; toy has had one in"):
        roll_back(store, "toy", "a test")


@pytest.mark.parametrize("kind", ["folder", pytest.param("s3", marks=pytest.mark.slow)])
def test_of_two_promotions_at_once_one_meets_the_other_one_and_decides_anew(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    uri = str(tmp_path / "store")
    if kind == "s3":
        uri = f"s3://{request.getfixturevalue('s3_environment').bucket}/{tmp_path.name}"
    store = open_store(uri, tmp_path / "cache")
    compared(store, model(store, "first", GOOD))
    both_decided = Barrier(2)
    asked: list[tuple[Ref | None, int]] = []

    def decide(challenger: Ref, champion: Ref | None, attempt: int) -> Ref:
        asked.append((champion, attempt))
        decision = decisions.decide(store, challenger, champion, attempt)
        if len(asked) <= 2:
            both_decided.wait(60)
        return decision

    challengers = [model(store, "better", BETTER), model(store, "best", BEST)]
    threads = [Thread(target=promote, args=(store, "toy", each, "a test", decide)) for each in challengers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history = read_history(store, "toy")
    first, faster, other = history.records
    assert faster.event == "promote"
    assert asked[:2] == [(first.champion.evaluation, 1)] * 2
    assert asked[2:] == [(faster.champion.evaluation, 2)]
    assert other.event == ("promote" if faster.challenger == challengers[0] else "keep")
    assert history.champion == challengers[1]
    assert len(check_records(store, history)) == 3


KILLED = """
import os, signal, sys
from lib.registry import decisions
from lib.registry.history import read_history, Evaluated
from lib.registry.promotion import promote
from lib.registry.gate import Latency
from lib.store import LocalStore
from pathlib import Path
store = LocalStore(Path(sys.argv[1]))
decisions._measure = lambda *_: Latency(0.01, 0.01, 1.0, 31, 32)

def decide(*made_of):
    decisions.decide(store, *made_of)
    os.kill(os.getpid(), signal.SIGKILL)

promote(store, "toy", Evaluated.model_validate_json(sys.argv[2]), "a test", decide)
"""


def test_killed_between_decision_and_record_it_goes_on_with_the_same_decision(store: LocalStore) -> None:
    compared(store, model(store, "first", GOOD))
    better = model(store, "better", BETTER)
    arguments = [sys.executable, "-c", KILLED, store.uri, better.model_dump_json()]
    assert subprocess.run(arguments, cwd=Path(__file__).parents[3], check=False).returncode == -signal.SIGKILL
    before = store.list("decisions")
    assert (len(before), len(read_history(store, "toy").records)) == (2, 1)
    stood = {path: (store.root / path).stat().st_mtime_ns for path in before}
    assert compared(store, better).record.champion == better
    assert {path: (store.root / path).stat().st_mtime_ns for path in store.list("decisions")} == stood


def test_of_a_champion_that_was_deleted_is_said_what_can_be_done(store: LocalStore) -> None:
    first, better = model(store, "first", GOOD), model(store, "better", BETTER)
    compared(store, first)
    store.delete(f"{first.model.uri}/manifest.json")
    with pytest.raises(PermanentError) as refused:
        compared(store, better)
    assert str(refused.value).startswith("the history of toy names models/toy/net/first as champion, and it cannot be")
    assert "--force --reason TEXT names a champion without a comparison" in str(refused.value)
    assert force(store, "toy", better, "a test", "the first is gone").champion == better
    with pytest.raises(PermanentError, match="names models/toy/net/first as champion, and it cannot be used"):
        roll_back(store, "toy", "a test")
    assert compared(store, model(store, "best", BEST)).record.event == "promote"


def test_limited_models_and_those_of_other_classes_are_not_compared_and_can_be_forced(store: LocalStore) -> None:
    compared(store, model(store, "first", GOOD))
    limited = model(store, "limited", BETTER, prepared_data(store, "limited", limit=9), limit=9)
    with pytest.raises(PermanentError, match=r"trained on all images; models/toy/net/limited was on 9 \(--limit\)"):
        compared(store, limited)
    other = model(store, "other", BETTER, prepared_data(store, "other", ("no", "maybe")))
    with pytest.raises(PermanentError, match="the champion has no, yes, and the challenger no, maybe: --force"):
        compared(store, other)
    assert len(read_history(store, "toy").records) == 1
    assert force(store, "toy", other, "a test", "new classes\x1b[31m").reason == "new classes\\x1b[31m"
    assert len(check_records(store, read_history(store, "toy"))) == 1


def rewrite(store: LocalStore, record: Record, **fields: object) -> None:
    """With a checksum that is right: as one who knows the format would."""
    store.write(f"registry/toy/history/{record.number:08}.json", record.model_copy(update=fields).to_json())


def test_a_record_that_does_not_follow_from_its_decision_is_named(store: LocalStore) -> None:
    first, same = model(store, "first", GOOD), model(store, "same", SAME)
    for each in (first, same):
        record = compared(store, each).record

    def says(rule: str, **fields: object) -> None:
        rewrite(store, record, **fields)
        with pytest.raises(PermanentError, match=rf"^registry/toy/history/00000002\.json: {rule}"):
            check_records(store, read_history(store, "toy"))

    says("after cannot-tell the champion must be models/toy/net/first; received models/toy/net/same", champion=same)
    says("its event must be cannot-tell, as decisions/toy/.* says; received promote", champion=same, event="promote")
    says("its challenger must be .*", challenger=first)
    says("its data must be prepared/toy/p", prepared=first.model)
    says("a decision must stand beside a verdict of the gate", decision=None)
    says("a decision must stand beside a verdict of the gate", champion=same, event="force")
    says("after rollback the champion must be none", event="rollback", decision=None)
    rewrite(store, record)
    assert len(check_records(store, read_history(store, "toy"))) == 2


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("verdict",), "promote", "facts.verdict must be cannot-tell"),
        (("attempt",), 2, "its address must be decisions/toy/"),
        (("rules", "min_gain"), 0.0, "its address must be decisions/toy/"),
        (("tests", "validation", "gained"), 40, "facts.tests.validation.gained must be 4, as"),
        (("reasons",), ["It is better."], "facts.reasons.0 must be On validation the challenger alone is right on 4"),
    ],
)
def test_a_decision_that_was_changed_is_named(
    store: LocalStore, place: tuple[str, ...], value: object, says: str
) -> None:
    compared(store, model(store, "first", GOOD))
    decision = compared(store, model(store, "same", SAME)).record.decision
    assert decision
    manifest = load(store, decision)
    inner = manifest.facts
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    store.write(f"{decision.uri}/manifest.json", manifest.to_json())
    with pytest.raises(PermanentError, match=says):
        check_output(store, manifest.ref(decision.uri))
    with pytest.raises(PermanentError, match="is not what was asked for"):
        check_records(store, read_history(store, "toy"))


def test_a_veto_is_worked_out_from_the_stored_predictions_and_latency_taken_as_measured(store: LocalStore) -> None:
    compared(store, model(store, "first", GOOD))
    record = compared(store, model(store, "too-sure", BETTER, sure=0.99)).record
    assert record.event == "keep"
    assert record.decision
    tests = load(store, record.decision).facts["tests"]
    right = dict.fromkeys(("validation", "test", "calibration", "classes", "latency"), "promote")
    assert {name: each["verdict"] for name, each in tests.items()} == right | {"calibration": "keep"}
    # 0.9 sure, and right on 900 of 1,000; 0.99 sure, and right on 940.
    assert tests["calibration"]["champion"]["error"] == pytest.approx(0, abs=1e-6)
    assert tests["calibration"]["challenger"]["error"] == pytest.approx(0.05, abs=1e-6)
    # Of the images 60 to 99 half are of each class, which has 500.
    assert tests["classes"]["largest_loss"] == {
        "name": "no", "gained": 20, "lost": 0, "rows": 500, "loss": -0.04, "p": 1.0,
    }  # fmt: skip
    assert check_output(store, record.decision) == ""


def test_a_plan_says_what_would_be_compared(store: LocalStore) -> None:
    first, same = model(store, "first", GOOD), model(store, "same", SAME)
    plan = ahead_of("toy", look_ahead(store, "toy", first))
    assert plan == ["toy has no champion: net/first would become champion without a comparison"]
    compared(store, first)
    assert ahead_of("toy", look_ahead(store, "toy", first)) == ["Nothing to do: net/first is the champion (record 1)"]
    assert ahead_of("toy", look_ahead(store, "toy", same)) == [
        "Would compare net/same with the champion of toy, net/first",
        "It is challenger 1 on prepared/toy/p: p must be at most 0.0304",
    ]
    compared(store, same)
    said = "Nothing to do: net/same was compared before: cannot-tell (record 2)"
    assert ahead_of("toy", look_ahead(store, "toy", same)) == [said]
