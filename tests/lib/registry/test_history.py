"""The history of champions: who gets a number, what a rollback returns to, and what a hand changed."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lib.errors import PermanentError
from lib.lineage.digests import digest_json
from lib.lineage.manifests import Ref
from lib.registry.history import Evaluated, Event, History, Record, append, champion, read_history
from lib.store import LocalStore, Store, open_store

DATA, OTHER_DATA, DECISION = (
    Ref(uri=uri, sha256="d" * 64) for uri in ("prepared/t/1", "prepared/t/2", "decisions/t/1")
)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def model(name: str) -> Evaluated:
    model, evaluation = (Ref(uri=f"{kind}/toy/cnn/{name}", sha256="0" * 64) for kind in ("models", "evaluations"))
    return Evaluated(model=model, evaluation=evaluation)


def compared(store: Store, event: Event, challenger: str, data: Ref = DATA) -> Record:
    history = read_history(store, "toy")
    new = event == "promote" or history.champion is None
    winner = model(challenger) if new else history.champion
    assert winner
    more = {"challenger": model(challenger), "prepared": data, "decision": DECISION}
    return append(store, history, event, winner, "a test", **more) or pytest.fail("another took the number")


def rolled_back(store: Store) -> Record:
    history = read_history(store, "toy")
    assert history.champion_before
    return append(store, history, "rollback", history.champion_before, "a test") or pytest.fail("taken")


def test_the_last_record_names_the_champion(store: LocalStore) -> None:
    assert champion(store, "toy") is None
    compared(store, "promote", "a")
    compared(store, "cannot-tell", "b")
    assert champion(store, "toy") == model("a")
    third = compared(store, "promote", "c")
    assert champion(store, "toy") == model("c")
    assert store.list("registry") == [f"registry/toy/history/0000000{number}.json" for number in (1, 2, 3)]
    assert read_history(store, "toy").records[2] == third
    assert third.before == read_history(store, "toy").records[1].sha256


def test_a_rollback_returns_to_the_champion_before_and_a_second_one_takes_the_first_back(store: LocalStore) -> None:
    for name in ("a", "b", "c"):
        compared(store, "promote", name)
    compared(store, "keep", "d")
    assert [rolled_back(store).champion for _ in range(3)] == [model("b"), model("c"), model("b")]
    assert read_history(store, "toy").champion_before == model("c")


def test_the_first_champion_has_none_before(store: LocalStore) -> None:
    compared(store, "promote", "a")
    compared(store, "keep", "b")
    assert read_history(store, "toy").champion_before is None


def test_challengers_are_counted_on_each_version_of_the_data(store: LocalStore) -> None:
    assert read_history(store, "toy").attempt(DATA) == 1
    compared(store, "promote", "a")  # met no champion
    assert read_history(store, "toy").attempt(DATA) == 1
    compared(store, "keep", "b")
    compared(store, "promote", "c")
    rolled_back(store)
    compared(store, "cannot-tell", "d", OTHER_DATA)
    history = read_history(store, "toy")
    assert (history.attempt(DATA), history.attempt(OTHER_DATA)) == (3, 2)


def test_what_was_decided_of_the_same_two_models_on_the_same_data_stands(store: LocalStore) -> None:
    compared(store, "promote", "a")
    kept, promoted = compared(store, "keep", "b"), compared(store, "promote", "c")
    assert read_history(store, "toy").decided(model("b"), DATA) is None, "it met another champion"
    rolled_back(store)
    history = read_history(store, "toy")
    assert (history.decided(model("b"), DATA), history.decided(model("c"), DATA)) == (kept, promoted)
    assert history.decided(model("b"), OTHER_DATA) is None


@pytest.mark.parametrize("kind", ["folder", pytest.param("s3", marks=pytest.mark.slow)])
def test_of_many_at_once_one_gets_each_number(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    uri = str(tmp_path / "store")
    if kind == "s3":
        uri = f"s3://{request.getfixturevalue('s3_environment').bucket}/{tmp_path.name}"
    store = open_store(uri, tmp_path / "cache")

    def promote(name: str) -> int:
        tries = 0
        while True:
            tries += 1
            history = read_history(store, "toy")
            if append(store, history, "promote", model(name), name):
                return tries

    with ThreadPoolExecutor(8) as pool:
        tries = list(pool.map(promote, map(str, range(16))))
    records = read_history(store, "toy").records
    assert sorted(int(record.by) for record in records) == list(range(16))
    assert max(tries) > 1, "nobody met another"


def test_the_same_record_sent_twice_is_one(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """As S3 answers a request that was sent again after it had been carried out."""
    history, create = History("toy", []), store.create

    def sent_twice(path: str, data: bytes) -> bool:
        create(path, data)
        return create(path, data)

    monkeypatch.setattr(store, "create", sent_twice)
    assert append(store, history, "force", model("a"), "a test", reason="mine")
    assert append(store, history, "force", model("b"), "a test", reason="mine") is None


def changed(**fields: Any) -> Callable[[bytes], bytes]:
    """A record with other fields, and the checksum of them."""

    def change(data: bytes) -> bytes:
        record = {**json.loads(data), **fields}
        del record["checksum"]
        return json.dumps({**record, "checksum": digest_json(record)}, indent=2).encode()

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data.replace(b"cnn/b", b"cnn/x"), r"00000002\.json in .* does not match its checksum"),
        (lambda data: b"{}", r"00000002\.json in .* is not valid: number: Field required"),
        (lambda data: b"[]", r"00000002\.json in .* must be a record"),
        (lambda data: b"\xff", r"00000002\.json in .* must be a record"),
        (changed(number=3), r"00000002\.json in .* must be record 2; received 3"),
        (changed(by="another"), r"00000003\.json in .* must follow a record of sha256 .*: .*00000002\.json or it was"),
        (changed(before=None), r"00000002\.json in .* must follow a record of sha256 [0-9a-f]{64}; it names None"),
    ],
)
def test_a_record_changed_by_hand_is_named(store: LocalStore, change: Callable[[bytes], bytes], says: str) -> None:
    for name in ("a", "b", "c"):
        compared(store, "promote", name)
    path = "registry/toy/history/00000002.json"
    store.write(path, change(store.read(path)))
    with pytest.raises(PermanentError, match=says):
        read_history(store, "toy")


def test_a_gap_is_named_and_what_is_no_record_is_passed_over(store: LocalStore) -> None:
    for name in ("a", "b", "c"):
        compared(store, "promote", name)
    store.write("registry/toy/history/notes.txt", b"mine")
    assert len(read_history(store, "toy").records) == 3
    store.delete("registry/toy/history/00000002.json")
    with pytest.raises(PermanentError, match=r"without a gap; registry/toy/history/00000002\.json is missing"):
        read_history(store, "toy")
