"""Measure what orchestration costs: `python -m tests.benchmarks.orchestration`.

It starts a local installation of its own and measures three durations: from `prefect deployment run` to the first
training step, for a task that does nothing, and for all of train-all/digits, in turns with the same work by
`python -m flows.train`. Run it on an otherwise idle machine.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lib.lineage.manifests import MANIFEST, Manifest
from tests.running_stack import REPOSITORY, RunningStack

MODEL = "digits-cnn"
FIRST_STEP = "begins with step 1 of epoch 1"
NO_OPS = 100
EMPTY_TASKS = f"""
import time
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

@task(cache_policy=NO_CACHE)
def nothing(): ...

@flow
def empty():
    started = time.perf_counter()
    for _ in range({NO_OPS}):
        nothing()
    print((time.perf_counter() - started) / {NO_OPS})

empty()
"""


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def deployed(stack: RunningStack, seed: int) -> dict[str, float]:
    """Seconds from the command to each step of one run."""
    began = time.time()
    run = stack.wait(stack.run("train-all/digits", models=[MODEL], seed=seed))
    assert run["state"]["type"] == "COMPLETED", run["state"]
    (child,) = stack.children(run["id"])
    logs = stack.post("logs/filter", logs={"flow_run_id": {"any_": [child["id"]]}}, limit=200)
    (first,) = (log["timestamp"] for log in logs if log["message"].endswith(FIRST_STEP))
    made = _made_s(stack, seed)
    total = at(run["end_time"]) - began
    return {
        "to train-all's first line": at(run["start_time"]) - began,
        "to train-model's first line, on its worker": at(child["start_time"]) - began,
        "to the first training step": at(first) - began,
        "to the end": total,
        "of these, making the outputs": made,
        "share of orchestration": 1 - made / total,
    }


def _made_s(stack: RunningStack, seed: int) -> float:
    """Seconds that the run's model, evaluation and report took to make."""
    store = stack.store()
    found = [
        Manifest.from_json(store.read(path))
        for kind in ("models", "evaluations", "reports")
        for path in store.list(kind)
        if path.endswith(MANIFEST)
    ]
    return sum(each.made_by["seconds"] for each in found if seed in _seeds(each))


def _seeds(manifest: Manifest) -> set[int]:
    rows = manifest.facts.get("leaderboard", [manifest.facts])
    return {row["seed"] for row in rows}


def local(folder: Path, seed: int) -> float:
    """Seconds of the same work without a server, data prepared before."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "AWS_"))}
    command = [sys.executable, "-m", "flows.train", "--models", MODEL, "--seed", str(seed), "--store", str(folder)]
    began = time.time()
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True)
    return time.time() - began


def make_parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.orchestration",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each kind (default: 3)")
    return options


def main() -> None:
    rounds = make_parser().parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stack = RunningStack(folder, PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL="DEBUG").start()
        try:
            stack.deploy()
            deployed(stack, 999), local(folder / "store", 999)  # ingests and prepares
            pairs = [(deployed(stack, seed), local(folder / "store", seed)) for seed in range(rounds)]
            nothing = [float(stack.command(sys.executable, "-c", EMPTY_TASKS).split()[-1]) for _ in range(rounds)]
        finally:
            stack.power_cut()
    _print(pairs, nothing)


def _print(pairs: list[tuple[dict[str, float], float]], nothing: list[float]) -> None:
    table = Table("", "median", "of", title=f"train-all/digits, {MODEL} alone; seconds", title_justify="left")

    def show(name: str, values: list[float], form: str = ".1f") -> None:
        table.add_row(name, f"{statistics.median(values):{form}}", " ".join(f"{value:{form}}" for value in values))

    for name in pairs[0][0]:
        show(name, [run[name] for run, _ in pairs], ".0%" if "share" in name else ".1f")
    show("the same by python -m flows.train", [alone for _, alone in pairs])
    show("ratio of the two", [run["to the end"] / alone for run, alone in pairs], ".2f")
    show("a task that does nothing", nothing, ".3f")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
