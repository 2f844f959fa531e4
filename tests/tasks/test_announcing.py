"""What the webhook is told of a report."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from tasks import announcing
from tasks.announcing import board_description, headline, last_best

BEST = {"model": "densenet121", "test_accuracy": 0.0, "validation_accuracy": 0.0125, "epochs": 1}
FULL = {"dataset": "cifar100", "limit": None, "leaderboard": [{**BEST, "test_accuracy": 0.74185, "epochs": 12}]}
FULL["show_test"] = True
TRY = {"dataset": "cifar100", "limit": 200, "leaderboard": [BEST], "show_test": False}


@pytest.mark.parametrize(
    ("facts", "last", "says"),
    [
        (TRY, None, "densenet121: 0.0125 on validation, after 1 epoch on 200 training rows only"),
        (FULL, None, "densenet121: 0.7419 on test, 0.0125 on validation, after 12 epochs"),
        (
            FULL,
            "mobilenet: 0.7000",
            "densenet121: 0.7419 on test, 0.0125 on validation, after 12 epochs; last time mobilenet: 0.7000",
        ),
    ],
)
def test_a_headline_says_what_was_trained_on_and_what_was_best_before(
    facts: dict[str, Any], last: str | None, says: str
) -> None:
    assert headline(facts, last) == says


def test_only_a_report_of_as_many_rows_is_compared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = json.dumps([{"Model": "mobilenet", "Validation accuracy": "0.7000"}])
    board = SimpleNamespace(description=board_description(FULL), data=shown)
    monkeypatch.setattr(announcing.Artifact, "get", lambda key: board if key == "leaderboard-cifar100" else None)
    assert last_best("cifar100", FULL) == "mobilenet: 0.7000"
    assert last_best("cifar100", TRY) is None
    assert last_best("digits", FULL) is None


@pytest.mark.parametrize(("url", "sent"), [("file:///x", ""), ("https://host/x", "https://host/x")])
def test_an_address_that_nobody_else_can_open_is_not_sent(url: str, sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(announcing, "load", lambda *_: SimpleNamespace(facts=FULL))
    monkeypatch.setattr(announcing, "report_url", lambda *_: url)
    monkeypatch.setattr(announcing, "emit_event", lambda *_, payload: told.append(payload["url"]))
    announcing.announce(None, None, None)  # type: ignore[arg-type]
    assert told == [sent]
