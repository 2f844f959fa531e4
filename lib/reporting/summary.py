"""What a report comes to, told from its manifest: its leaderboard as a table, its best model, one line."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lib.lineage.manifests import MANIFEST, Manifest, Ref, foreign, load, local_file
from lib.reporting.leaderboard import BASELINE, cell, columns, facts_of_rows, shown
from lib.reporting.makers import evaluations_of, input_name, shown_makers
from lib.reporting.pages import moment
from lib.reporting.wording import duration
from lib.store import Store


def leaderboard_table(store: Store, report: Ref) -> list[dict[str, str]]:
    """The leaderboard as a person reads it: one row a model, best validation accuracy first."""
    manifest = load_report(store, report)
    classes = len(load(store, manifest.inputs["prepared"]).facts["class_names"])
    rows, makers = manifest.facts["leaderboard"], shown_makers(store, report, manifest)
    several = any(len(row["seeds"]) > 1 for row in rows)
    models = [
        [makers[load(store, manifest.inputs[name]).inputs["model"].uri] for name in row["evaluations"]] for row in rows
    ]
    changed = [manifest.made_by["changes"][row["evaluations"][0]] for row in rows]
    return [
        {
            **{title: cell(row, key) for key, title in columns(classes, manifest.facts["show_test"], several).items()},
            "Training time": duration(sum(model.seconds for model in of_row)),
            "Kind": ", ".join(["baseline"] * row["baseline"] + ["try"] * bool(differences)),
            "Note": "; ".join([BASELINE] * row["baseline"] + differences),
        }
        for row, of_row, differences in zip(rows, models, changed, strict=True)
    ]


def best_model(store: Store, report: Ref) -> tuple[str, Ref]:
    """The leaderboard's first model, of its seeds that which is best on validation: its name there, and its ref."""
    manifest = load_report(store, report)
    first = manifest.facts["leaderboard"][0]
    return first["model"], load(store, manifest.inputs[first["evaluations"][0]]).inputs["model"]


def report_summary(store: Store, report: Ref) -> str:
    """A report in one line: the best model, what was left out, when and of which seed."""
    manifest = load_report(store, report)
    rows, left_out = manifest.facts["leaderboard"], manifest.facts["left_out"]
    split = "test" if manifest.facts["show_test"] else "validation"
    parts = [
        f"best of {len(rows)}: {rows[0]['model']}, {shown(rows[0][f'{split}_accuracy'])} on {split}"
        if rows
        else "no model",
        f"{manifest.facts['limit']:,} training images only" if manifest.facts["limit"] else "",
        seeds_of(rows),
        f"left out: {', '.join(left_out)}" if left_out else "",
        f"made {made_when(manifest.made_by)}",
    ]
    return "; ".join(part for part in parts if part)


def report_url(store: Store, report: Ref) -> str:
    """Where a browser finds index.html. Raises PermanentError where it is gone or changed."""
    manifest = load(store, report)
    local_file(store, manifest, "index")
    return store.url(manifest.files["index"].path)


def load_report(store: Store, report: Ref) -> Manifest:
    """Its manifest. Raises PermanentError where its leaderboard is not one of its evaluations."""
    manifest = load(store, report)
    names = {input_name(ref) for ref in evaluations_of(manifest)}
    lines = manifest.facts["leaderboard"]
    needed = facts_of_rows(manifest.facts["show_test"])
    lacking = {name for line in lines for name in needed if name not in line} | names - {*manifest.made_by["changes"]}
    shown_too = [name for line in lines for name in line.get("evaluations", [])]
    if lacking or sorted(shown_too) != sorted(names):
        received = f"{len(lines)} lines for {len(shown_too)} of {len(names)} evaluations"
        raise foreign(store, f"{report.uri}/{MANIFEST}", f"{received}, without {', '.join(sorted(lacking))}")
    return manifest


def seeds_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """`seeds 0, 1, 2`; empty without models."""
    seeds = sorted({seed for row in rows for seed in row["seeds"]})
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}" if seeds else ""


def made_when(made_by: Mapping[str, Any]) -> str:
    """`26 November 2026, 21:04 UTC, started by hand`, of the record in a manifest."""
    when = moment(datetime.fromisoformat(made_by["at"]))
    return f"{when}, started by {made_by['started_by']}" if made_by["started_by"] else when
