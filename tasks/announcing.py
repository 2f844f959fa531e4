"""Tell who listens of a report: an event on the Prefect server, which `deployments.automations` sends on."""

import json
from typing import Any, cast

from prefect.artifacts import Artifact
from prefect.events import emit_event

from lib.lineage.manifests import Ref, load
from lib.reporting.leaderboard import shown
from lib.reporting.summary import report_url
from lib.store import Store

REPORT_PUBLISHED = "report.published"


def board_description(facts: dict[str, Any]) -> str:
    """Of the leaderboard in the UI. Two with one description compare: they are of as many training rows."""
    rows = f"{facts['limit']:,} training rows" if facts["limit"] else "all training rows"
    return f"Leaderboard, ranked by validation accuracy; {rows}"


def last_best(dataset: str, facts: dict[str, Any]) -> str | None:
    """The best of the leaderboard that the UI shows now, if it compares with a report of `facts`."""
    board = cast(Artifact | None, Artifact.get(f"leaderboard-{dataset}"))
    if board is None or board.description != board_description(facts):
        return None
    best = json.loads(str(board.data))[0]
    return f"{best['Model']}: {best['Validation accuracy']}"


def announce(store: Store, report: Ref, last: str | None) -> None:
    """Emit REPORT_PUBLISHED. Its `url` is empty where only this machine could open it."""
    facts, url = load(store, report).facts, report_url(store, report)
    payload = {
        "dataset": facts["dataset"],
        "best": headline(facts, last),
        "url": "" if url.startswith("file:") else url,
    }
    resource = {"prefect.resource.id": f"report.{facts['dataset']}", "prefect.resource.name": facts["dataset"]}
    emit_event(REPORT_PUBLISHED, resource, payload=payload)


def headline(facts: dict[str, Any], last: str | None) -> str:
    """The best model of a report of `facts`, what it was trained on, and the `last` best."""
    best = facts["leaderboard"][0]
    accuracies = f"{shown(best['validation_accuracy'])} on validation"
    if facts["show_test"]:
        accuracies = f"{shown(best['test_accuracy'])} on test, {accuracies}"
    epochs = f"{best['epochs']:,} epoch{'' if best['epochs'] == 1 else 's'}"
    tried = f" on {facts['limit']:,} training rows only" if facts["limit"] else ""
    before = f"; last time {last}" if last else ""
    return f"{best['model']}: {accuracies}, after {epochs}{tried}{before}"
