"""Inject faults into a real training and say how each ended: `make faults`, or `python -m tests.faults --only clock`.

It uses real Prefect servers, real S3 servers, a real installation with its workers, and the real digits. Each run must
either complete with exactly the bits of an undisturbed run, or end in a clear error with the store intact. The exit
code is 1 if one does not.
"""

import argparse
import os
import re
import sys
import tempfile
import time
import traceback
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from lib.lineage.steps import checkpoints_address
from lib.lineage.verify import check_files, verify
from lib.store import LocalStore
from tests.faults.installation import STACK_ROWS, Installation, StackRow
from tests.faults.proxy import Proxy, proxy_before
from tests.faults.rows import ROWS, Row
from tests.faults.scene import CHUNKS, FLOW, STEPS, TRAINING, Run, Scene, broken, closing, outputs
from tests.s3_server import S3Server

SERVERS = 3
COLUMNS = ("fault", "where", "outcome", "chunks lost", "weights equal", "seconds")


@dataclass(frozen=True)
class Outcome:
    """A row of the table."""

    row: Row | StackRow
    ended: str
    lost: int
    equal: str
    seconds: float
    problem: str

    def cells(self) -> tuple[str, ...]:
        lost = f"{self.lost} of {CHUNKS}"
        ended = "not as it must be" if self.problem else re.sub(r"\b([0-9a-f]{8})[0-9a-f]{56}\b", r"\1…", self.ended)
        return (self.row.fault, self.row.where, ended, lost, self.equal, f"{self.seconds:.0f}")


class Matrix:
    """The undisturbed run, and the scenes that are compared with it."""

    def __init__(self, folder: Path, api: str) -> None:
        self.folder, self.api = folder, api
        self.undisturbed = folder / "undisturbed"
        run = Run(self._environment(folder / "cache", STORE_URI=str(self.undisturbed)), (FLOW, *TRAINING)).end()
        assert run.code == 0, run.said()
        self.expected = outputs(LocalStore(self.undisturbed))
        assert not broken(LocalStore(self.undisturbed), verify)

    def _environment(self, cache: Path, **more: str) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "TF2_")) and name not in {"ALLOW_CPU", "MIRROR_URL", "STORE_URI"}
        }
        return {
            **kept,
            "PREFECT_API_URL": self.api,
            "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "DEBUG",
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
            "AWS_EC2_METADATA_DISABLED": "true",
            "CHECKPOINT_INTERVAL_S": "0",
            "RETRY_DELAYS_S": "[0, 1]",
            "CACHE_DIR": str(cache),
            **more,
        }

    def scene(self, number: int, row: Row, server: S3Server, proxy: Proxy) -> Scene:
        """A store with the prepared data.

        Where the fault is not one of evaluation or network, with the undisturbed model's evaluation too: only a model
        of the same digest finds it, and any other would be evaluated and leave more behind.
        """
        folder = self.folder / f"scene-{number}"
        folder.mkdir()
        uri = str(folder / "store") if row.folder else f"s3://{server.bucket}/scene-{number}"
        keys = {**server.environment(), "AWS_ENDPOINT_URL_S3": proxy.endpoint}
        (model,) = (address for address in self.expected if address.startswith("models/"))
        scene = Scene(
            folder=folder,
            uri=uri,
            server=server,
            proxy=proxy,
            environment=self._environment(folder / "cache", **keys),
            checkpoints=checkpoints_address(model),
            module=FLOW if row.flow else STEPS,
        )
        store = scene.store()
        evaluated = () if row.evaluates or row.code else ("evaluations",)
        reported = () if row.code or (row.evaluates and row.flow) else ("reports",)
        for kind in ("datasets", "prepared", *evaluated, *reported):
            for path in sorted((self.undisturbed / kind).rglob("*.*"), key=lambda path: path.name == "manifest.json"):
                store.write(path.relative_to(self.undisturbed).as_posix(), path)
        return scene

    def play(self, number: int, row: Row, server: S3Server, proxy: Proxy) -> Outcome:
        """Inject the fault and judge what came of it."""
        started = time.monotonic()
        scene = self.scene(number, row, server, proxy)
        with closing(scene):
            try:
                last = row.inject(scene)
                lost, problem = scene.chunks_lost(), self._problem(scene, row, last)
            except Exception:
                last, lost, problem = None, 0, traceback.format_exc()
        ended = "completed" if row.code == 0 else f"error {row.code}: {last.error if last else ''}"
        equal = "yes" if row.code == 0 and not problem else "store intact" if not problem else "NO"
        return Outcome(row, ended, lost, equal, time.monotonic() - started, problem)

    def play_on(self, installation: Installation, row: StackRow) -> Outcome:
        """The same for a fault of an installation."""
        started = time.monotonic()
        try:
            problem, lost = row.inject(installation), installation.chunks_lost()
            if not problem and (found := outputs(installation.store())) != self.expected:
                problem = f"outputs differ: {found} instead of {self.expected}"
            if not problem and lost > row.chunks:
                problem = f"{lost} chunks were lost, and at most {row.chunks} may be"
        except Exception:
            problem, lost = traceback.format_exc(), 0
        return Outcome(row, "completed", lost, "NO" if problem else "yes", time.monotonic() - started, problem)

    def _problem(self, scene: Scene, row: Row, last: Run) -> str:
        scene.proxy.faults = []
        if last.code != row.code or row.says not in last.error:
            return f"it ended with code {last.code} and {last.error!r}:\n{last.said()}"
        store = scene.store()
        if row.code == 0 and (found := outputs(store)) != self.expected:
            return f"outputs differ: {found} instead of {self.expected}"
        if left := store.list("checkpoints") if row.code == 0 else []:
            return f"left behind: {left}"
        # What is finished and equal has been verified in the undisturbed store, but for its files.
        check = verify if row.code else check_files
        if damaged := [each for each in broken(store, check) if scene.changed not in each]:
            return f"the store is not intact: {damaged}"
        if (lost := scene.chunks_lost()) > row.chunks:
            return f"{lost} chunks were lost, and at most {row.chunks} may be"
        return ""


def make_parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--only",
        nargs="+",
        action="extend",
        metavar="TEXT",
        help="inject only faults whose name or place contains one of these texts (default: all faults)",
    )
    options.add_argument(
        "--except",
        dest="left_out",
        nargs="+",
        action="extend",
        default=[],
        metavar="TEXT",
        help="inject none whose name or place contains one of these texts (default: leave none out)",
    )
    options.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table to this file")
    return options


def main() -> int:
    options = make_parser()
    chosen = options.parse_args()
    rows = [row for row in (*ROWS, *STACK_ROWS) if _has(row, chosen.only or [""]) and not _has(row, chosen.left_out)]
    if not rows:
        options.error(f"--only must name a row that --except leaves; received {chosen.only!r}, {chosen.left_out!r}")
    for row in [row for row in rows if isinstance(row, Row)]:
        if why := row.skip():
            print(f"skipped: {row.fault}, {row.where}: {why}", file=sys.stderr)
            rows.remove(row)
    started = time.monotonic()
    with prefect_test_harness(server_startup_timeout=180), tempfile.TemporaryDirectory() as name:
        outcomes = _play_all(Path(name), str(PREFECT_API_URL.value()), rows)
    print_table(outcomes, time.monotonic() - started)
    if chosen.markdown:
        chosen.markdown.write_text(markdown(outcomes))
    return 1 if any(outcome.problem for outcome in outcomes) else 0


def _has(row: Row | StackRow, texts: list[str]) -> bool:
    return any(text in f"{row.fault} {row.where}" for text in texts)


def _play_all(folder: Path, api: str, rows: list[Row | StackRow]) -> list[Outcome]:
    """SERVERS rows at a time, each with an S3 server and a proxy of its own; beside them those of an installation."""
    terminal = Console(stderr=True)
    with Progress(console=terminal, disable=not terminal.is_terminal) as bars, ThreadPoolExecutor(SERVERS + 1) as pool:
        bar = bars.add_task("undisturbed run", total=len(rows))
        matrix = Matrix(folder, api)
        todo = deque((place, row) for place, row in enumerate(rows) if isinstance(row, Row))

        def tell(outcome: Outcome) -> Outcome:
            bars.update(bar, advance=1, description=outcome.row.fault)
            verdict = "NOT AS IT MUST BE" if outcome.problem else "as it must be"
            print(f"{verdict}: {outcome.row.fault}, {outcome.row.where}", file=sys.stderr, flush=True)
            return outcome

        def work_on_installation() -> dict[int, Outcome]:
            chosen = {place: row for place, row in enumerate(rows) if isinstance(row, StackRow)}
            installation = Installation(folder / "installation")
            try:
                installation.start()
                return {place: tell(matrix.play_on(installation, row)) for place, row in chosen.items()}
            finally:
                installation.power_cut()

        def work(number: int) -> dict[int, Outcome]:
            server, done = S3Server(folder / f"s3-{number}"), {}
            server.start()
            try:
                with proxy_before(server.endpoint) as proxy:
                    while (taken := _next(todo)) is not None:
                        place, row = taken
                        done[place] = tell(matrix.play(place, row, server, proxy))
            finally:
                server.stop()
            return done

        on_installation = pool.submit(work_on_installation if any(isinstance(r, StackRow) for r in rows) else dict)
        found = [outcome for outcomes in pool.map(work, range(SERVERS)) for outcome in outcomes.items()]
        found += on_installation.result().items()
    return [outcome for _, outcome in sorted(found)]


def _next(todo: deque[tuple[int, Row]]) -> tuple[int, Row] | None:
    """The next row; None where another thread has taken the last."""
    try:
        return todo.popleft()
    except IndexError:
        return None


def print_table(outcomes: list[Outcome], seconds: float) -> None:
    table = Table(*COLUMNS, show_lines=False)
    for outcome in outcomes:
        table.add_row(*outcome.cells(), style="red" if outcome.problem else "")
    Console(width=200).print(table)
    problems = [each for each in outcomes if each.problem]
    for each in problems:
        print(f"{each.row.fault}, {each.row.where}: {each.problem[-3000:]}\n")
    for each in problems:  # the last lines are those that are read, and kept where much was printed
        print(f"not as it must be: {each.row.fault}, {each.row.where}: {' '.join(each.problem[:600].split())}")
    held = len(outcomes) - len(problems)
    print(f"{held} of {len(outcomes)} rows ended as they must, in {seconds / 60:.1f} minutes")


def markdown(outcomes: list[Outcome]) -> str:
    lines = [COLUMNS[:-1], ("---",) * (len(COLUMNS) - 1), *(outcome.cells()[:-1] for outcome in outcomes)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    sys.exit(main())
