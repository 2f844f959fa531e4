"""One report of a dataset and its models, from what the store holds: index.html, a leaderboard, and markdown."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from lib.errors import PermanentError
from lib.lineage.digests import digest_json
from lib.lineage.index import read_index
from lib.lineage.manifests import MANIFEST, Manifest, Ref, commit, find, load, local_file, put_file
from lib.lineage.provenance import made_by
from lib.lineage.steps import SPLITS, STEPS
from lib.lineage.verify import Recomputed, check_address, must_equal
from lib.models.changes import changes
from lib.reporting.cost import Cost, costs
from lib.reporting.doubts import Doubts
from lib.reporting.findings import Findings, Recorded, findings_of, read_recorded, to_record
from lib.reporting.leaderboard import (
    BASELINE,
    NARROW,
    PHONE,
    Group,
    columns,
    grouped,
    leaderboard_csv,
    leaderboard_rows,
    read_entry,
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
from lib.reporting.pages import render
from lib.reporting.robustness import RobustnessSection, draw_robustness, robustness_section
from lib.reporting.sections import (
    Art,
    DataSection,
    ModelSection,
    address,
    data_section,
    model_section,
)
from lib.reporting.summary import load_report, made_when, seeds_of
from lib.reporting.tiles import read_captions
from lib.store import Store

FILES = {"index": "index.html", "leaderboard": "leaderboard.csv", "captions": "captions.json"}
"""Name in the manifest → name of the file; pictures lie beside them."""


@dataclass(frozen=True)
class Report:
    """Everything a template shows. Models and leaderboard are in the same order, the best first."""

    data: DataSection
    models: list[ModelSection]
    leaderboard: list[dict[str, Any]]
    show_test: bool
    """Whether figures on test are shown."""
    readings: int
    """How many reports have shown them of one of these models, this one included; 0 where they are not shown."""
    accuracies: str
    """data: address of the picture of the leaderboard; empty without models."""
    left_out: dict[str, str]
    """Model that was asked for and has no result → why."""
    made: str
    """When it was made, and what started the run."""
    seeds: str
    findings: Findings
    costs: list[Cost]
    robustness: RobustnessSection | None
    """None where it was not asked for."""
    doubts: Doubts


def build_report(
    store: Store,
    prepared: Ref,
    evaluations: list[Ref],
    left_out: Mapping[str, str] | None = None,
    started_by: str = "",
    beside: Sequence[Ref] = (),
    show_test: bool = False,
    lacking: Mapping[str, str] | None = None,
) -> Ref:
    """Commit index.html and leaderboard.csv over `evaluations`, unless they are there.

    `left_out` has the models that were asked for and gave no result, each with the reason; `started_by` says in words
    what started the run; `beside` are outputs of other steps on these models or data that the report shows too;
    `lacking` says why others are not there, by their kind; `show_test` says whether it shows figures on test: it then
    counts how often that was done before. Raises PermanentError where an evaluation is of other prepared data: they do
    not compare.
    """
    evaluations, left_out, shown_too = list(dict.fromkeys(evaluations)), dict(left_out or {}), [*dict.fromkeys(beside)]
    facts, names = load(store, prepared).facts, sorted(left_out)
    made_of = {"prepared": prepared, "evaluations": evaluations, "left_out": names, "beside": shown_too}
    made_of["show_test"] = show_test
    address = STEPS["report"].address(dataset_name=facts["dataset"], **made_of)
    done = find(store, address)
    if done and not made_by_others(store, done[1]):
        return done[0]
    started = time.monotonic()
    groups = _grouped(store, prepared, evaluations)
    recorded = {"changes": _changes(store, evaluations), "makers": makers_of(store, prepared, evaluations, shown_too)}
    recorded["readings"] = 1 + _readings(store, facts["dataset"], evaluations) if show_test else 0
    recorded |= {"left_out": left_out, "started_by": started_by, "lacking": dict(lacking or {})}
    kept = to_record(store, address, load(store, prepared), evaluations, groups, show_test)
    record = made_by(0, **recorded, **kept.model_dump(mode="json"))
    art = _draw(store, prepared, groups, shown_too, show_test)
    report = _report(store, prepared, groups, shown_too, art, record, show_test, kept)
    files = {
        **{name: put_file(store, address, f"{name}.png", picture) for name, picture in art.pictures.items()},
        "captions": put_file(store, address, FILES["captions"], json.dumps(art.captions).encode()),
        "index": put_file(store, address, FILES["index"], _render("index.html.j2", report).encode()),
        "leaderboard": put_file(store, address, FILES["leaderboard"], leaderboard_csv(report.leaderboard, show_test)),
    }
    shown = {"dataset": facts["dataset"], "limit": facts["limit"], "leaderboard": report.leaderboard, "left_out": names}
    shown["show_test"] = show_test
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
    manifest = load_report(store, report)
    names = [name for name, file in manifest.files.items() if file.path.endswith(".png")]
    pictures = {name: local_file(store, manifest, name).read_bytes() for name in names}
    art, prepared = Art(pictures, read_captions(store, manifest)), manifest.inputs["prepared"]
    record = {"readings": 0, **manifest.made_by, "makers": shown_makers(store, report, manifest)}
    groups = _grouped(store, prepared, evaluations_of(manifest))
    kept, show_test = read_recorded(store, report, manifest), manifest.facts["show_test"]
    return _report(store, prepared, groups, beside_of(manifest), art, record, show_test, kept)


def recompute(store: Store, address: str, manifest: Manifest) -> Recomputed:
    """For verify: the leaderboard from the evaluations, the page rendered again, and the pictures drawn again."""
    from lib.reporting.redrawn import check_pictures  # with matplotlib

    prepared, evaluations, beside = manifest.inputs["prepared"], evaluations_of(manifest), beside_of(manifest)
    show_test = manifest.facts["show_test"]
    if others := made_by_others(store, manifest):
        raise PermanentError(
            f"{address} must show who made {others[0]}, which was changed or made anew since; remove "
            f"{address}/{MANIFEST} and run again"
        )
    facts, left_out = load(store, prepared).facts, sorted(manifest.made_by.get("left_out", {}))
    names = {"dataset_name": facts["dataset"], "left_out": left_out}
    check_address(
        "report", address, prepared=prepared, evaluations=evaluations, beside=beside, show_test=show_test, **names
    )
    groups = _grouped(store, prepared, evaluations)
    models = [group[0].name for group in groups]
    pictures, note = check_pictures(
        store, address, manifest, models, lambda: _draw(store, prepared, groups, beside, show_test)
    )
    report = read_report(store, manifest.ref(address))
    right = {
        "index": _render("index.html.j2", report).encode(),
        "leaderboard": leaderboard_csv(report.leaderboard, show_test),
    }
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
            "show_test": show_test,
        },
        content={"leaderboard": digest_json(report.leaderboard)},
        files={**FILES, **{name: f"{name}.png" for name in pictures}},
        note=note,
    )


def report_markdown(store: Store, report: Ref) -> str:
    """The same report as markdown with its pictures inside, for the Prefect UI."""
    return _render("report.md.j2", read_report(store, report))


def _grouped(store: Store, prepared: Ref, evaluations: list[Ref]) -> list[Group]:
    """The evaluations, one group a row of the leaderboard. Raises PermanentError where one is of other data."""
    entries = [read_entry(store, ref) for ref in evaluations]
    for entry in entries:
        if entry.evaluation.inputs["prepared"] != prepared:
            raise PermanentError(
                f"a report's evaluations must all be of {prepared.uri}; "
                f"received {entry.name}, which is of {entry.evaluation.inputs['prepared'].uri}"
            )
    return grouped(entries)


def _draw(store: Store, prepared: Ref, groups: Sequence[Group], beside: Sequence[Ref], show_test: bool) -> Art:
    from lib.reporting.pictures import draw  # with matplotlib and pandas: who shows a leaderboard needs neither
    from lib.reporting.read_doubts import draw_doubts

    best = {group[0].name: group[0].evaluation for group in groups}
    rows = leaderboard_rows(groups, show_test=False)
    art = draw(store, load(store, prepared), best, rows)
    art.pictures.update(draw_robustness(store, groups, rows, beside))
    art.pictures.update(draw_doubts(store, best, beside, show_test))
    return art


def _report(
    store: Store,
    prepared: Ref,
    groups: Sequence[Group],
    beside: Sequence[Ref],
    art: Art,
    record: Mapping[str, Any],
    show_test: bool,
    kept: Recorded,
) -> Report:
    from lib.reporting.read_doubts import doubts_of  # with pandas

    rows, makers = leaderboard_rows(groups, show_test), MAKERS.validate_python(record["makers"])
    findings = findings_of(store, load(store, prepared), groups, rows, kept)
    models = [
        model_section(store, group, row["model"], art, record["changes"][group[0].name], makers, findings.frame)
        for group, row in zip(groups, rows, strict=True)
        if findings.frame
    ]
    named = {row["model"]: group[0].evaluation for group, row in zip(groups, rows, strict=True)}
    return Report(
        data=data_section(store, prepared, art, makers),
        models=models,
        leaderboard=rows,
        show_test=show_test,
        readings=record["readings"],
        accuracies=address(art.pictures["accuracies"]) if rows else "",
        left_out=record["left_out"],
        made=made_when(record),
        seeds=seeds_of(rows),
        findings=findings,
        costs=costs(store, groups, rows, makers),
        robustness=robustness_section(store, groups, rows, beside, art.pictures),
        doubts=doubts_of(store, named, beside, art, record, show_test),
    )


def _readings(store: Store, dataset: str, evaluations: Sequence[Ref]) -> int:
    """How often reports that lie in the store, or were read when one of them was made, showed test of one of these."""
    folder = STEPS["report"].folder.format(dataset_name=dataset)
    reports = read_index(store, store.list(folder)).outputs.values()
    shown = [each for each in reports if each.facts.get("show_test") and {*evaluations} & {*evaluations_of(each)}]
    return max([len(shown), *(int(each.made_by.get("readings", 0)) for each in shown)], default=0)


def _changes(store: Store, evaluations: list[Ref]) -> dict[str, list[str]]:
    """What each model changed of its recipe. It is recorded: the recipes of this code may be others tomorrow."""
    models = {input_name(ref): load(store, load(store, ref).inputs["model"]) for ref in evaluations}
    return {name: changes(model.facts) for name, model in models.items()}


def _render(template: str, report: Report) -> str:
    return render(
        template,
        **vars(report),
        columns=columns(
            len(report.data.labels), report.show_test, any(len(model.seeds) > 1 for model in report.models)
        ),
        narrow=NARROW,
        phone=PHONE,
        splits=SPLITS if report.show_test else SPLITS[:2],
        baseline=BASELINE,
        guess_loss=math.log(len(report.data.labels)),
    )
