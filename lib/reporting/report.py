"""One report of a data set and its models, from what the store holds: index.html, a leaderboard, and markdown."""

import csv
import io
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from lib.addresses import report_address
from lib.manifests import Manifest, Ref, commit, digest_json, find, load, put_file
from lib.provenance import made_by
from lib.reporting.sections import SPLITS, DataSection, ModelSection, data_section, model_section
from lib.store import Store

TEMPLATES = Path(__file__).parent / "templates"
COLUMNS = {
    "rank": "Rank",
    "model": "Model",
    "dev_accuracy": "Dev accuracy",
    "test_accuracy": "Test accuracy",
    "test_top5_accuracy": "Test top-5",
    "test_macro_f1": "Test macro F1",
    "test_loss": "Test loss",
    "parameters": "Parameters",
    "epochs": "Epochs",
}


@dataclass(frozen=True)
class Page:
    """Everything a template shows."""

    data: DataSection
    models: list[ModelSection]
    leaderboard: list[dict[str, Any]]


def build_report(store: Store, prepared: Ref, evaluations: list[Ref]) -> Ref:
    """Commit index.html and leaderboard.csv over `evaluations`, unless they are there."""
    dataset = load(store, prepared).facts["dataset"]
    address = report_address(dataset, prepared, evaluations)
    if done := find(store, address):
        return done[0]
    started = time.monotonic()
    page = _page(store, prepared, evaluations)
    files = {
        "index": put_file(store, address, "index.html", _render("index.html.j2", page).encode()),
        "leaderboard": put_file(store, address, "leaderboard.csv", _csv(page.leaderboard)),
    }
    inputs = {f"evaluation-{number}": section.evaluation for number, section in enumerate(page.models, 1)}
    return commit(
        store,
        address,
        Manifest(
            kind="report",
            inputs={"prepared": prepared, **inputs},
            facts={"dataset": dataset, "limit": page.data.facts["limit"], "leaderboard": page.leaderboard},
            content={"leaderboard": digest_json(page.leaderboard)},
            files=files,
            made_by=made_by(time.monotonic() - started),
        ),
    )


def report_markdown(store: Store, report: Ref) -> str:
    """The same report as markdown with its pictures inside, for the Prefect UI."""
    inputs = load(store, report).inputs
    evaluations = [ref for name, ref in inputs.items() if name.startswith("evaluation-")]
    return _render("report.md.j2", _page(store, inputs["prepared"], evaluations))


def leaderboard_table(store: Store, report: Ref) -> list[dict[str, str]]:
    """The leaderboard as a person reads it: one row a model, best dev accuracy first."""
    return [
        {title: _shown(row[key]) for key, title in COLUMNS.items()} for row in load(store, report).facts["leaderboard"]
    ]


def report_url(store: Store, report: Ref) -> str:
    """Where a browser finds index.html."""
    return store.url(load(store, report).files["index"].path)


def rank(models: list[ModelSection]) -> list[dict[str, Any]]:
    """Leaderboard rows in the order of dev accuracy. Test is shown and decides nothing."""
    ordered = sorted(models, key=lambda model: (-model.metrics["dev"].accuracy, model.name, model.evaluation.uri))
    return [
        {
            "rank": place,
            "model": model.name,
            "baseline": model.facts["baseline"],
            "dev_accuracy": model.metrics["dev"].accuracy,
            **{
                f"test_{name}": getattr(model.metrics["test"], name)
                for name in ("accuracy", "top5_accuracy", "macro_f1", "loss")
            },
            "parameters": model.facts["parameters"],
            "epochs": model.facts["epochs"],
        }
        for place, model in enumerate(ordered, 1)
    ]


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


def _page(store: Store, prepared: Ref, evaluations: list[Ref]) -> Page:
    models = [model_section(store, evaluation) for evaluation in evaluations]
    models.sort(key=lambda model: (-model.metrics["dev"].accuracy, model.name, model.evaluation.uri))
    return Page(data_section(store, prepared), models, rank(models))


def _render(template: str, page: Page) -> str:
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["shown"] = _shown
    return templates.get_template(template).render(
        vars(page), columns=COLUMNS, splits=SPLITS, uniform_loss=math.log(len(page.data.labels))
    )


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
