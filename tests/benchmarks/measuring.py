"""How the benchmarks measure: ours and a peer in turn, within one run, in processor seconds."""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lib.runtime.environment import for_computing
from tests.running_stack import REPOSITORY


@dataclass(frozen=True)
class Measured:
    """One comparison: a figure of ours, a peer's, and their ratios, one for each turn."""

    what: str
    ours: str
    peer: str
    ratios: list[float]
    asked: str
    """What the ratio has to be."""
    limit: str = ""
    """What this machine could do at most, measured there and then."""


def processor_seconds(who: int = resource.RUSAGE_SELF) -> float:
    """Spent so far, in all threads."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def spent(work: Callable[[], object]) -> float:
    """Processor seconds of `work`."""
    before = processor_seconds()
    work()
    return processor_seconds() - before


@contextmanager
def highest_anonymous_bytes() -> Iterator[Callable[[], int]]:
    """By how much anonymous memory grew at its highest within the block, to be asked for after it."""
    before, watching = _anonymous_bytes(), True
    seen = [before]

    def watch() -> None:
        while watching:
            seen.append(_anonymous_bytes())
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: max(seen) - before
    finally:
        watching = False
        watcher.join()


def _anonymous_bytes() -> int:
    """Resident; a file that is mapped to memory is not part of it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def in_turn(turns: int, *works: Callable[[], float]) -> list[list[float]]:
    """What each of `works` gives, `turns` times, after one turn that does not count."""
    found = [[work() for work in works] for _ in range(turns + 1)]
    return [list(each) for each in zip(*found[1:], strict=True)]


def own_process(module: str, *arguments: str) -> str:
    """The last line that `python -m module` prints, in the environment of a job."""
    command = [sys.executable, "-m", module, *arguments]
    environment = {**for_computing(os.environ)[0], "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stderr}error: python -m {module} failed")
    return done.stdout.strip().splitlines()[-1]


def over(ours: list[float], theirs: list[float]) -> list[float]:
    """Ratio of each turn."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def said(values: list[float], unit: str, form: str = ",.2f") -> str:
    """The median with its unit."""
    return f"{statistics.median(values):{form}} {unit}"


def given(description: str | None) -> list[str]:
    """What the command line says to a benchmark; where it asks for help, that is printed, and nothing is measured."""
    options = argparse.ArgumentParser(
        prog=f"python -m {sys.modules['__main__'].__spec__.name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("given", nargs="*", help=argparse.SUPPRESS)
    found: list[str] = options.parse_args().given
    return found


def show(found: list[Measured]) -> None:
    """As one table, and as JSON on the last line for `python -m tests.benchmarks`."""
    print_table(found)
    print(json.dumps([asdict(each) for each in found]))


def print_table(found: list[Measured]) -> None:
    """Median ratio, with the lowest and the highest."""
    table = Table("what", "ours", "peer", "ratio", "asked", "this machine's limit")
    for each in found:
        low, high = min(each.ratios), max(each.ratios)
        spread = f" ({low:.2f} to {high:.2f}, n = {len(each.ratios)})" if len(each.ratios) > 1 else ""
        table.add_row(
            each.what, each.ours, each.peer, f"{statistics.median(each.ratios):.2f}{spread}", each.asked, each.limit
        )
    Console(width=180).print(table)
