"""One report of a dataset and its models, from what the store holds: index.html, a leaderboard, and markdown."""

import csv
import io
import math
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from lib.errors import PermanentError
from lib.lineage.digests import digest_json
from lib.lineage.manifests import Manifest, Ref, commit, find, load, local_file, put_file
from lib.lineage.provenance import made_by
from lib.lineage.steps import STEPS
from lib.lineage.verify import Recomputed, must_equal
from lib.reporting.sections import SPLITS, DataSection, ModelSection, Pictures, data_section, duration, model_section
from lib.store import Store

TEMPLATES = Path(__file__).parent / "templates"
BASELINE = "the 2023 notebook's settings"
COLUMNS = {
    "rank": "Rank",
    "model": "Model",
    "validation_accuracy": "Validation accuracy",
    "test_accuracy": "Test accuracy",
    "test_top5_accuracy": "Test top-5",
    "test_macro_f1": "Test macro F1",
    "test_loss": "Test loss",
    "parameters": "Parameters",
    "epochs": "Epochs",
}
NARROW = ("rank", "model", "validation_accuracy", "test_accuracy", "test_loss")
"""Of COLUMNS, what a page beside menus has room for: each model's own section says the rest."""
FACTS = (*COLUMNS, "seed", "baseline")


@dataclass(frozen=True)
class Report:
    """Everything a template shows. Models and leaderboard are in the same order, the best first."""

    data: DataSection
    models: list[ModelSection]
    leaderboard: list[dict[str, Any]]


def build_report(store: Store, prepared: Ref, evaluations: list[Ref]) -> Ref:
    """Commit index.html and leaderboard.csv over `evaluations`, unless they are there.

    Raises PermanentError where an evaluation is of other prepared data: the two would not compare.
    """
    evaluations = list(dict.fromkeys(evaluations))
    facts = load(store, prepared).facts
    address = STEPS["report"].address(dataset_name=facts["dataset"], prepared=prepared, evaluations=evaluations)
    if done := find(store, address):
        return done[0]
    started = time.monotonic()
    pictures = _draw(store, prepared, evaluations)
    report = _report(store, prepared, evaluations, pictures)
    files = {
        **{name: put_file(store, address, f"{name}.png", picture) for name, picture in pictures.items()},
        "index": put_file(store, address, "index.html", _render("index.html.j2", report).encode()),
        "leaderboard": put_file(store, address, "leaderboard.csv", _csv(report.leaderboard)),
    }
    return commit(
        store,
        address,
        Manifest(
            kind="report",
            inputs={"prepared": prepared, **{_input_name(ref): ref for ref in evaluations}},
            facts={"dataset": facts["dataset"], "limit": facts["limit"], "leaderboard": report.leaderboard},
            content={"leaderboard": digest_json(report.leaderboard)},
            files=files,
            made_by=made_by(time.monotonic() - started),
        ),
    )


def read_report(store: Store, report: Ref) -> Report:
    """All that the report at `report` shows, read anew from what it was made of."""
    manifest = load(store, report)
    names = [name for name, file in manifest.files.items() if file.path.endswith(".png")]
    pictures = {name: local_file(store, manifest, name).read_bytes() for name in names}
    return _report(store, manifest.inputs["prepared"], _evaluations(manifest), pictures)


def recompute(store: Store, address: str, manifest: Manifest) -> Recomputed:
    """For verify: the leaderboard from the evaluations, the page rendered again, and the pictures drawn again."""
    from lib.reporting.redrawn import check_pictures  # with matplotlib

    prepared, evaluations = manifest.inputs["prepared"], _evaluations(manifest)
    facts = load(store, prepared).facts
    pictures, note = check_pictures(
        store, address, manifest, [_input_name(ref) for ref in evaluations], lambda: _draw(store, prepared, evaluations)
    )
    report = read_report(store, manifest.ref(address))
    right = {"index": _render("index.html.j2", report).encode(), "leaderboard": _csv(report.leaderboard)}
    for name, data in right.items():
        stored = local_file(store, manifest, name).read_bytes()
        must_equal(address, f"sha256 of {name}", sha256(data).hexdigest(), sha256(stored).hexdigest())
    return Recomputed(
        inputs=frozenset({"prepared", *(_input_name(ref) for ref in evaluations)}),
        facts={"dataset": facts["dataset"], "limit": facts["limit"], "leaderboard": report.leaderboard},
        content={"leaderboard": digest_json(report.leaderboard)},
        files={"index": "index.html", "leaderboard": "leaderboard.csv", **{name: f"{name}.png" for name in pictures}},
        key={"dataset_name": facts["dataset"], "prepared": prepared, "evaluations": evaluations},
        note=note,
    )


def report_markdown(store: Store, report: Ref) -> str:
    """The same report as markdown with its pictures inside, for the Prefect UI."""
    return _render("report.md.j2", read_report(store, report))


def leaderboard_table(store: Store, report: Ref) -> list[dict[str, str]]:
    """The leaderboard as a person reads it: one row a model, best validation accuracy first."""
    manifest = load(store, report)
    ordered = sorted((load(store, ref) for ref in _evaluations(manifest)), key=by_validation)
    models = [load(store, evaluation.inputs["model"]) for evaluation in ordered]
    return [
        {
            **{title: shown(row[key]) for key, title in COLUMNS.items()},
            "Training time": duration(model.made_by["seconds"]),
            "Note": BASELINE if row["baseline"] else "",
        }
        for row, model in zip(manifest.facts["leaderboard"], models, strict=True)
    ]


def report_url(store: Store, report: Ref) -> str:
    """Where a browser finds index.html."""
    return store.url(load(store, report).files["index"].path)


def leaderboard_rows(evaluations: Sequence[Manifest]) -> list[dict[str, Any]]:
    """One row a model, by accuracy on validation, then by loss on validation. Test is shown and decides nothing."""
    ordered = sorted(evaluations, key=by_validation)
    return [
        {
            "rank": place,
            "model": name,
            "validation_accuracy": evaluation.facts["metrics"]["validation"]["accuracy"],
            **{
                f"test_{metric}": evaluation.facts["metrics"]["test"][metric]
                for metric in ("accuracy", "top5_accuracy", "macro_f1", "loss")
            },
            **{fact: evaluation.facts[fact] for fact in ("parameters", "epochs", "seed", "baseline")},
        }
        for place, (name, evaluation) in enumerate(zip(_names(ordered), ordered, strict=True), 1)
    ]


def by_validation(evaluation: Manifest) -> tuple[float, float, str]:
    """Sorts the best first, and always the same way."""
    validation = evaluation.facts["metrics"]["validation"]
    return -validation["accuracy"], validation["loss"], evaluation.inputs["model"].uri


def shown(value: Any) -> str:
    """A number as a person reads it: shares and losses with four places, counts in thousands."""
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _names(evaluations: Sequence[Manifest]) -> list[str]:
    """The recipe's name, with its weights, its seed or the model's key where that alone would be said twice."""
    choices = [
        [
            str(each.facts["recipe"]),
            f"{each.facts['recipe']}, weights {each.facts['weights']}",
            f"{each.facts['recipe']}, seed {each.facts['seed']}",
            f"{each.facts['recipe']}, {each.inputs['model'].uri.rsplit('/')[-1]}",
        ]
        for each in evaluations
    ]
    counts = Counter(name for names in choices for name in names)
    return [next((name for name in names if counts[name] == 1), names[-1]) for names in choices]


def _input_name(evaluation: Ref) -> str:
    """evaluation-<recipe>-<key>, from evaluations/<dataset>/<recipe>/<key>: a recipe can stand there twice."""
    return "-".join(["evaluation", *evaluation.uri.split("/")[2:]])


def _evaluations(report: Manifest) -> list[Ref]:
    return [ref for name, ref in report.inputs.items() if name != "prepared"]


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    table = csv.DictWriter(text, FACTS)
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


def _draw(store: Store, prepared: Ref, evaluations: list[Ref]) -> Pictures:
    from lib.reporting.pictures import draw  # with matplotlib and pandas: who shows a leaderboard needs neither

    manifests = {_input_name(ref): load(store, ref) for ref in evaluations}
    for name, manifest in manifests.items():
        if manifest.inputs["prepared"] != prepared:
            raise PermanentError(
                f"a report's evaluations must all be of {prepared.uri}; "
                f"received {name}, which is of {manifest.inputs['prepared'].uri}"
            )
    return draw(store, load(store, prepared), manifests)


def _report(store: Store, prepared: Ref, evaluations: list[Ref], pictures: Pictures) -> Report:
    manifests = {ref: load(store, ref) for ref in evaluations}
    rows = leaderboard_rows(list(manifests.values()))
    ordered = sorted(manifests, key=lambda ref: by_validation(manifests[ref]))
    models = [
        model_section(store, ref, row["model"], _input_name(ref), pictures)
        for ref, row in zip(ordered, rows, strict=True)
    ]
    return Report(data_section(store, prepared, pictures), models, rows)


def _render(template: str, report: Report) -> str:
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"shown": shown, "duration": duration, "plain": _plain}
    return templates.get_template(template).render(
        vars(report),
        columns=COLUMNS,
        narrow=NARROW,
        splits=SPLITS,
        baseline=BASELINE,
        guess_loss=math.log(len(report.data.labels)),
    )


def _plain(text: str) -> str:
    """`text` with nothing in it that markdown or HTML would act on."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", text)
