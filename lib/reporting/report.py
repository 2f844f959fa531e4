"""One report of a dataset and its models, from what the store holds: index.html, a leaderboard, and markdown."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from lib.errors import PermanentError
from lib.lineage.digests import digest_json
from lib.lineage.manifests import MANIFEST, Manifest, Ref, commit, find, foreign, load, local_file, put_file
from lib.lineage.provenance import made_by
from lib.lineage.steps import SPLITS, STEPS
from lib.lineage.verify import Recomputed, check_address, must_equal
from lib.models.changes import changes
from lib.reporting.leaderboard import (
    BASELINE,
    FACTS,
    NARROW,
    PHONE,
    by_validation,
    cell,
    columns,
    leaderboard_csv,
    leaderboard_rows,
    read_entry,
    shown,
)
from lib.reporting.makers import (
    MAKERS,
    beside_of,
    evaluations_of,
    input_name,
    made_by_others,
    makers_of,
    shown_makers,
)
from lib.reporting.pages import moment, render
from lib.reporting.sections import (
    Art,
    DataSection,
    Makers,
    ModelSection,
    address,
    data_section,
    model_section,
)
from lib.reporting.tiles import read_captions
from lib.reporting.wording import duration
from lib.store import Store

FILES = {"index": "index.html", "leaderboard": "leaderboard.csv", "captions": "captions.json"}
"""Name in the manifest → name of the file; pictures lie beside them."""


@dataclass(frozen=True)
class Report:
    """Everything a template shows. Models and leaderboard are in the same order, the best first."""

    data: DataSection
    models: list[ModelSection]
    leaderboard: list[dict[str, Any]]
    accuracies: str
    """data: address of the picture of the leaderboard; empty without models."""
    left_out: dict[str, str]
    """Model that was asked for and has no result → why."""
    made: str
    """When it was made, and what started the run."""
    seeds: str


def build_report(
    store: Store,
    prepared: Ref,
    evaluations: list[Ref],
    left_out: Mapping[str, str] | None = None,
    started_by: str = "",
    beside: Sequence[Ref] = (),
) -> Ref:
    """Commit index.html and leaderboard.csv over `evaluations`, unless they are there.

    `left_out` has the models that were asked for and gave no result, each with the reason; `started_by` says in words
    what started the run; `beside` are outputs of other steps on these models or data that the report shows too. Raises PermanentError where an evaluation is of other prepared data: they do not compare.
    """
    evaluations, left_out, shown_too = list(dict.fromkeys(evaluations)), dict(left_out or {}), [*dict.fromkeys(beside)]
    facts, names = load(store, prepared).facts, sorted(left_out)
    made_of = {"prepared": prepared, "evaluations": evaluations, "left_out": names, "beside": shown_too}
    address = STEPS["report"].address(dataset_name=facts["dataset"], **made_of)
    done = find(store, address)
    if done and not made_by_others(store, done[1]):
        return done[0]
    started = time.monotonic()
    recorded = {"changes": _changes(store, evaluations), "makers": makers_of(store, prepared, evaluations, shown_too)}
    record = made_by(0, left_out=left_out, started_by=started_by, **recorded)
    art = _draw(store, prepared, evaluations)
    report = _report(store, prepared, evaluations, art, record, MAKERS.validate_python(record["makers"]))
    files = {
        **{name: put_file(store, address, f"{name}.png", picture) for name, picture in art.pictures.items()},
        "captions": put_file(store, address, FILES["captions"], json.dumps(art.captions).encode()),
        "index": put_file(store, address, FILES["index"], _render("index.html.j2", report).encode()),
        "leaderboard": put_file(store, address, FILES["leaderboard"], leaderboard_csv(report.leaderboard)),
    }
    shown = {"dataset": facts["dataset"], "limit": facts["limit"], "leaderboard": report.leaderboard, "left_out": names}
    manifest = Manifest(
        kind="report",
        inputs={"prepared": prepared, **{input_name(ref): ref for ref in [*evaluations, *shown_too]}},
        facts=shown,
        content={"leaderboard": digest_json(report.leaderboard)},
        files=files,
        made_by={**record, "fonts": art.fonts, "seconds": round(time.monotonic() - started, 3)},
    )
    if done:  # only now that all of the new one lies there; it has the same ref, and shows who made the models of today
        store.delete(f"{address}/{MANIFEST}")
    return commit(store, address, manifest)


def read_report(store: Store, report: Ref) -> Report:
    """All that the report at `report` shows, read anew from what it was made of."""
    manifest = _load(store, report)
    names = [name for name, file in manifest.files.items() if file.path.endswith(".png")]
    pictures = {name: local_file(store, manifest, name).read_bytes() for name in names}
    art = Art(pictures, read_captions(store, manifest))
    makers = shown_makers(store, report, manifest)
    return _report(store, manifest.inputs["prepared"], evaluations_of(manifest), art, manifest.made_by, makers)


def recompute(store: Store, address: str, manifest: Manifest) -> Recomputed:
    """For verify: the leaderboard from the evaluations, the page rendered again, and the pictures drawn again."""
    from lib.reporting.redrawn import check_pictures  # with matplotlib

    prepared, evaluations, beside = manifest.inputs["prepared"], evaluations_of(manifest), beside_of(manifest)
    if others := made_by_others(store, manifest):
        raise PermanentError(
            f"{address} must show who made {others[0]}, which was changed or made anew since; remove "
            f"{address}/{MANIFEST} and run again"
        )
    facts, left_out = load(store, prepared).facts, sorted(manifest.made_by.get("left_out", {}))
    names = {"dataset_name": facts["dataset"], "left_out": left_out}
    check_address("report", address, prepared=prepared, evaluations=evaluations, beside=beside, **names)
    pictures, note = check_pictures(
        store, address, manifest, [input_name(ref) for ref in evaluations], lambda: _draw(store, prepared, evaluations)
    )
    report = read_report(store, manifest.ref(address))
    right = {"index": _render("index.html.j2", report).encode(), "leaderboard": leaderboard_csv(report.leaderboard)}
    for name, data in right.items():
        stored = local_file(store, manifest, name).read_bytes()
        must_equal(address, f"sha256 of {name}", sha256(data).hexdigest(), sha256(stored).hexdigest())
    return Recomputed(
        inputs=frozenset({"prepared", *(input_name(ref) for ref in [*evaluations, *beside])}),
        facts={
            "dataset": facts["dataset"],
            "limit": facts["limit"],
            "leaderboard": report.leaderboard,
            "left_out": left_out,
        },
        content={"leaderboard": digest_json(report.leaderboard)},
        files={**FILES, **{name: f"{name}.png" for name in pictures}},
        note=note,
    )


def report_markdown(store: Store, report: Ref) -> str:
    """The same report as markdown with its pictures inside, for the Prefect UI."""
    return _render("report.md.j2", read_report(store, report))


def leaderboard_table(store: Store, report: Ref) -> list[dict[str, str]]:
    """The leaderboard as a person reads it: one row a model, best validation accuracy first."""
    manifest = _load(store, report)
    classes = len(load(store, manifest.inputs["prepared"]).facts["class_names"])
    ordered = sorted(
        ((load(store, ref), ref) for ref in evaluations_of(manifest)), key=lambda pair: by_validation(pair[0])
    )
    makers = shown_makers(store, report, manifest)
    models = [makers[evaluation.inputs["model"].uri] for evaluation, _ in ordered]
    changed = [manifest.made_by["changes"][input_name(ref)] for _, ref in ordered]
    return [
        {
            **{title: cell(row, key) for key, title in columns(classes).items()},
            "Training time": duration(model.seconds),
            "Kind": ", ".join(["baseline"] * row["baseline"] + ["try"] * bool(differences)),
            "Note": "; ".join([BASELINE] * row["baseline"] + differences),
        }
        for row, model, differences in zip(manifest.facts["leaderboard"], models, changed, strict=True)
    ]


def best_model(store: Store, report: Ref) -> tuple[str, Ref]:
    """The first model of the leaderboard: its name there, and its ref."""
    manifest = _load(store, report)
    first = min((load(store, ref) for ref in evaluations_of(manifest)), key=by_validation)
    return manifest.facts["leaderboard"][0]["model"], first.inputs["model"]


def report_summary(store: Store, report: Ref) -> str:
    """A report in one line: the best model, what was left out, when and of which seed."""
    manifest = _load(store, report)
    rows, left_out = manifest.facts["leaderboard"], manifest.facts["left_out"]
    seeds = ", ".join(sorted({f"seed {row['seed']}" for row in rows}))
    parts = [
        f"best of {len(rows)}: {rows[0]['model']}, {shown(rows[0]['test_accuracy'])} on test" if rows else "no model",
        f"{manifest.facts['limit']:,} training images only" if manifest.facts["limit"] else "",
        seeds,
        f"left out: {', '.join(left_out)}" if left_out else "",
        f"made {_made(manifest.made_by)}",
    ]
    return "; ".join(part for part in parts if part)


def report_url(store: Store, report: Ref) -> str:
    """Where a browser finds index.html. Raises PermanentError where it is gone or changed."""
    manifest = load(store, report)
    local_file(store, manifest, "index")
    return store.url(manifest.files["index"].path)


def _load(store: Store, report: Ref) -> Manifest:
    """Its manifest. Raises PermanentError where its leaderboard is not one of its evaluations."""
    manifest = load(store, report)
    names = {input_name(ref) for ref in evaluations_of(manifest)}
    lines = manifest.facts["leaderboard"]
    lacking = {name for line in lines for name in FACTS if name not in line} | names - {*manifest.made_by["changes"]}
    if lacking or len(lines) != len(names):
        received = f"{len(lines)} lines for {len(names)} evaluations"
        raise foreign(store, f"{report.uri}/{MANIFEST}", f"{received}, without {', '.join(sorted(lacking))}")
    return manifest


def _draw(store: Store, prepared: Ref, evaluations: list[Ref]) -> Art:
    from lib.reporting.pictures import draw  # with matplotlib and pandas: who shows a leaderboard needs neither

    manifests = {input_name(ref): load(store, ref) for ref in evaluations}
    for name, manifest in manifests.items():
        if manifest.inputs["prepared"] != prepared:
            raise PermanentError(
                f"a report's evaluations must all be of {prepared.uri}; "
                f"received {name}, which is of {manifest.inputs['prepared'].uri}"
            )
    return draw(store, load(store, prepared), manifests)


def _report(
    store: Store, prepared: Ref, evaluations: list[Ref], art: Art, made_by: Mapping[str, Any], makers: Makers
) -> Report:
    manifests = {ref: load(store, ref) for ref in evaluations}
    rows = leaderboard_rows(read_entry(store, evaluation) for evaluation in manifests.values())
    ordered = sorted(manifests, key=lambda ref: by_validation(manifests[ref]))
    models = [
        model_section(store, ref, row["model"], input_name(ref), art, made_by["changes"][input_name(ref)], makers)
        for ref, row in zip(ordered, rows, strict=True)
    ]
    seeds = sorted({row["seed"] for row in rows})
    return Report(
        data=data_section(store, prepared, art, makers),
        models=models,
        leaderboard=rows,
        accuracies=address(art.pictures["accuracies"]) if rows else "",
        left_out=made_by["left_out"],
        made=_made(made_by),
        seeds=f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}" if seeds else "",
    )


def _changes(store: Store, evaluations: list[Ref]) -> dict[str, list[str]]:
    """What each model changed of its recipe. It is recorded: the recipes of this code may be others tomorrow."""
    models = {input_name(ref): load(store, load(store, ref).inputs["model"]) for ref in evaluations}
    return {name: changes(model.facts) for name, model in models.items()}


def _made(made_by: Mapping[str, Any]) -> str:
    """`26 November 2026, 21:04 UTC, started by hand`, of the record in a manifest."""
    when = moment(datetime.fromisoformat(made_by["at"]))
    return f"{when}, started by {made_by['started_by']}" if made_by["started_by"] else when


def _render(template: str, report: Report) -> str:
    return render(
        template,
        **vars(report),
        columns=columns(len(report.data.labels)),
        narrow=NARROW,
        phone=PHONE,
        splits=SPLITS,
        baseline=BASELINE,
        guess_loss=math.log(len(report.data.labels)),
    )
