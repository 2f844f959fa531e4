"""Measure a run that finds all done: `python -m tests.benchmarks.no_op`.

`python -m flows.train` on digits in a store that has its report, in processor seconds of all its processes, against
importing Prefect alone; the limit is the start of Python.
"""

import os
import resource
import subprocess
import sys
import tempfile

from tests.benchmarks.measuring import Measured, given, in_turn, over, processor_seconds, said, show
from tests.running_stack import REPOSITORY

TURNS = 7


def command(*arguments: str, **variables: str) -> float:
    """Processor seconds of a Python process and its children."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    before = processor_seconds(resource.RUSAGE_CHILDREN)
    environment = {**kept, **variables}
    subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, env=environment, check=True, capture_output=True)
    return processor_seconds(resource.RUSAGE_CHILDREN) - before


def measure() -> list[Measured]:
    with tempfile.TemporaryDirectory() as folder:
        train = ("-m", "flows.train", "--store", folder)
        turns = in_turn(
            TURNS,
            lambda: command(*train),  # the first turn, which does not count, trains
            lambda: command("-c", "import prefect.flows"),
            lambda: command("-c", "pass"),
        )
    what, unit = "python -m flows.train, all done", "processor s"
    peer, limit = f"importing Prefect: {said(turns[1], unit)}", f"starting Python: {said(turns[2], unit)}"
    return [Measured(what, said(turns[0], unit), peer, over(turns[0], turns[1]), "≤ 2.6 s", limit)]


if __name__ == "__main__":
    given(__doc__)
    show(measure())
