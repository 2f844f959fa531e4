"""Aliases: files of the registry that name outputs to keep."""

import json

import pytest

from lib.errors import PermanentError
from lib.lineage.retention import plan
from lib.store import LocalStore

from .made import addresses, clean, policy, trained


@pytest.mark.parametrize(
    "written",
    ["{store}/models/toy/cnn/m1", "file://{store}/models/toy/cnn/m1/", "models/toy/cnn/m1/manifest.json"],
)
def test_an_alias_may_name_an_output_as_verify_takes_it(history: LocalStore, written: str) -> None:
    alias = {"uri": written.format(store=history.uri)}
    history.write("registry/champion.json", json.dumps(alias).encode())
    clean(history, keep=1)
    assert "toy/cnn/m1" in addresses(history, "models")


@pytest.mark.parametrize(
    ("alias", "received"),
    [
        ({"uri": "models/toy/cnn/gone"}, "'models/toy/cnn/gone'"),
        ({"uri": "s3://other/models/toy/cnn/m1"}, "'s3://other/models/toy/cnn/m1'"),
        ({"uri": "../m1"}, "'../m1'"),
        ({"was": [{"uri": "models/toy/cnn/m1"}, {"uri": "models/toy/cnn/gone"}]}, "'models/toy/cnn/gone'"),
        ({"url": "models/toy/cnn/m1"}, "none"),
    ],
)
def test_an_alias_that_names_no_output_stops_all(history: LocalStore, alias: object, received: str) -> None:
    history.write("registry/champion.json", json.dumps(alias).encode())
    with pytest.raises(PermanentError) as refused:
        plan(history, policy(1))
    assert str(refused.value) == (
        f"the alias registry/champion.json must name an output of {history.uri} by its uri; received {received}; "
        "mend or remove it"
    )


def test_a_damaged_alias_stops_all(history: LocalStore) -> None:
    history.write("registry/toy/champion.json", b'{"uri": ')
    with pytest.raises(PermanentError, match=r"an alias must be JSON; received registry/toy/champion\.json in"):
        plan(history, policy(1))


def record(store: LocalStore, number: int, champion: str, challenger: str) -> None:
    def evaluated(key: str) -> dict[str, dict[str, str]]:
        return {kind: {"uri": f"{kind}s/toy/cnn/{key}"} for kind in ("model", "evaluation")}

    fields = {"champion": evaluated(champion), "challenger": evaluated(challenger)}
    store.write(f"registry/toy/history/{number:08}.json", json.dumps(fields).encode())


def test_what_the_last_records_name_is_kept_and_the_champion_before(store: LocalStore) -> None:
    """And that what older ones name is gone is no error."""
    for day in range(1, 10):
        trained(store, f"m{day}", day)
    events = [("m1", "m1"), ("m2", "m2"), ("m3", "m3"), ("m3", "m4"), ("m3", "m5"), ("m3", "m6"), ("m3", "gone")]
    for number, (champion, challenger) in enumerate(events, 1):
        record(store, number, champion, challenger)
    clean(store, keep=2)
    # Of records 7 and 6 m3 and m6; m2 is the champion before; m8 and m9 are the newest.
    assert addresses(store, "models") == [f"toy/cnn/m{day}" for day in (2, 3, 6, 8, 9)]
    assert addresses(store, "evaluations") == addresses(store, "models")
