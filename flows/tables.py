"""What the commands print: plans, leaderboards and histories."""

import shlex
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lib.command_line import this_python
from lib.lineage.manifests import Ref, find, load, local_file
from lib.lineage.steps import STEPS
from lib.planning.outputs import find_evaluation, why_left_out
from lib.planning.plan import Plan
from lib.planning.preview import Line
from lib.planning.titles import asked
from lib.registry.history import Record
from lib.registry.wording import row_of
from lib.reporting.leaderboard import COLUMNS, NARROW
from lib.reporting.summary import best_model, leaderboard_table, report_url
from lib.reporting.wording import duration
from lib.runtime.hardware import WHY_LEFT_OUT
from lib.settings import read_settings
from lib.store import Store

SAID_SHORTLY = {WHY_LEFT_OUT: "no GPU here; --allow-cpu trains without, slowly"}


def show_plan(plan: Plan, lines: list[Line]) -> None:
    """Print each step with its state, size and time, and below them the reasons."""
    table = _table(f"Plan for {plan.dataset.name}; nothing is run", "Step", "State")
    for name in ("Parameters", "FLOPs an image", "Takes about"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        counts = (f"{line.counts.parameters:,}", f"{line.counts.flops:,}") if line.counts else ("", "")
        table.add_row(line.name, line.state, *counts, duration(line.seconds) if line.seconds else "")
    _print(table)
    for note in plan.notes:
        print(note)
    for line in lines:
        if line.why:
            print(f"{line.name} {line.state}: {line.why}")
    print(total(lines))


def total(lines: list[Line]) -> str:
    """What all work still to do comes to."""
    to_do = [line for line in lines if line.state.startswith("would")]
    if not to_do:
        return "In all: nothing to do"
    fetched, stored = (sum(getattr(line, name) for line in to_do) for name in ("fetched_bytes", "stored_bytes"))
    seconds = sum(line.seconds or 0 for line in to_do)
    unknown = [line.name for line in to_do if line.name.startswith("train ") and line.seconds is None]
    without = f" (not known of: {', '.join(unknown)})" if unknown else ""
    takes = f"about {duration(seconds)}" if seconds else "seconds"
    fetches = f", and up to {_megabytes(fetched)} to fetch and keep" if fetched else ", and nothing to fetch"
    return f"In all: {takes} of work on this machine{without}, {_megabytes(stored)} to store{fetches}"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f} MB"


def show_leaderboard(store: Store, plan: Plan, report: Ref, allow_cpu: bool, mirror_url: str | None = None) -> None:
    """Print the leaderboard, which models it lacks, and where the report is."""
    manifest, rows = load(store, report), leaderboard_table(store, report)
    title = ", ".join([f"Leaderboard of {plan.dataset.name}", *asked(plan), "ranked by validation accuracy"])
    table = _table(title)
    names = [COLUMNS[key] for key in (*NARROW, "seeds") if COLUMNS[key] in rows[0]]
    for name in names:
        table.add_column(name, justify="left" if name == COLUMNS["model"] else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(row[name] for name in names))
    _print(table)
    prepared = manifest.inputs["prepared"]
    missing = [trial for trial in plan.trials if not find_evaluation(store, plan, trial, prepared)]
    here = {trial: why_left_out(store, trial.recipe, allow_cpu, mirror_url) for trial in missing}
    left_out: dict[str, list[str]] = {}
    for title, why in plan.by_title(here).items():
        # What only a mirror could tell is said by the report.
        said = why or manifest.made_by["left_out"].get(title, "it is not in this report")
        left_out.setdefault(SAID_SHORTLY.get(said, said), []).append(title)
    for said, titles in left_out.items():
        print(f"Left out: {', '.join(titles)}: {said}")
    show_use(store, *best_model(store, report))
    elsewhere = "" if store.uri == read_settings().store_uri else f" --store {shlex.quote(store.uri)}"
    print(f"Verify it back to the raw files: {this_python()} -m flows verify {report.uri}{elsewhere}")
    print(f"Report: {report_url(store, report)}")


def show_history(dataset: str, records: Sequence[Record]) -> None:
    """Print each record of the champions of `dataset`, the first one first."""
    if not records:
        print(f"{dataset} has no champion yet")
        return
    table = _table(f"Champions of {dataset}", "Record")
    for name in ("At", "Event", "Champion", "Challenger", "By"):
        table.add_column(name, no_wrap=name != "By")
    for record in records:
        table.add_row(*row_of(record))
    _print(table)


def show_use(store: Store, name: str, model: Ref) -> None:
    """Print where an evaluated model and its card are, and how plain Keras loads it.

    From S3 a copy of the model is kept in CACHE_DIR.
    """
    manifest = load(store, model)
    facts = load(store, manifest.inputs["prepared"]).facts
    shape = ", ".join(map(str, facts["image_shape"]))
    print(f"Use {name}:")
    print("    import keras, numpy as np")
    print(f"    model = keras.saving.load_model({str(local_file(store, manifest, 'model').absolute())!r})")
    print(f"    model.predict(np.zeros((1, {shape}), np.uint8))  # (1, {len(facts['class_names'])}) probabilities")
    names = {"dataset_name": manifest.facts["dataset"], "recipe_name": manifest.facts["recipe"]["name"]}
    evaluation = find(store, STEPS["evaluation"].address(model=model, **names))
    if evaluation and (card := evaluation[1].files.get("card")):
        print(f"Model card: {store.url(card.path)}")


def _table(title: str, *left: str) -> Table:
    table = Table(box=SIMPLE_HEAD, title=title)
    for name in left:
        table.add_column(name, no_wrap=True)
    return table


def _print(table: Table) -> None:
    console = Console()
    console.width = max(console.width, 140)  # a line too long is better read than one cut
    title, table.title = table.title, None  # or it is broken where the table ends
    with console.capture() as text:
        console.print(table)
    print(title)
    print(text.get(), end="")  # rich itself would end the command with code 1 where nobody reads on
