"""What a person sees while it runs: bars on a terminal; in the logs a line an epoch, or a tenth of the features."""

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from lib.data.fetch import Progress as FetchProgress
from lib.runtime.jobs import Emit, Event
from tasks.progress import EpochProgress

Logger = logging.Logger | logging.LoggerAdapter
EPOCH_LINE_EVERY_S = 5.0
LINE_EVERY_S = 60.0
"""Where nothing else is told: of downloads, long epochs and features."""


@contextmanager
def show_download(logger: Logger, clock: Callable[[], float] = time.monotonic) -> Iterator[FetchProgress]:
    """A bar for each file that is fetched. Without a terminal, a log line as it begins, and one a minute."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bars:
        rows: dict[str, TaskID] = {}
        told_at: dict[str, float] = {}

        def update(name: str, done: int, total: int) -> None:
            if name not in rows:
                rows[name] = bars.add_task(name, total=None)
            bars.update(rows[name], completed=done, total=total or None)
            if bars.disable and clock() - told_at.get(name, -math.inf) >= LINE_EVERY_S:
                told_at[name] = clock()
                logger.info("fetching %s: %s", name, _fetched(done, total))

        yield update


@contextmanager
def show_images(logger: Logger, clock: Callable[[], float] = time.monotonic) -> Iterator[Callable[[int], None]]:
    """How many images have been read: on a terminal as they come, else a log line a minute."""
    columns = TextColumn("reading images"), TextColumn("{task.completed:,}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bars:
        row, told_at = bars.add_task("", total=None), clock()

        def update(count: int) -> None:
            nonlocal told_at
            bars.update(row, completed=count)
            if bars.disable and clock() - told_at >= LINE_EVERY_S:
                told_at = clock()
                logger.info("reading images: %s so far", f"{count:,}")

        yield update


def _fetched(done: int, total: int) -> str:
    """How much of a file has come, of what its server says it to have."""
    return f"{done / 1e6:,.1f} MB" + (f" of {total / 1e6:,.1f} MB" if total else "")


@contextmanager
def show_job(name: str, dataset: str, logger: Logger) -> Iterator[Emit]:
    """Follow a job's events: a bar on a terminal, and a log line an epoch or in some seconds."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[metrics]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bars:
        row = bars.add_task(name, total=None, metrics="starting")
        artifact, worth = EpochProgress(f"{name} on {dataset}", logger), WorthTelling()

        def on_event(event: Event) -> None:
            artifact.show(event)
            bars.update(row, **_bar(name, event))
            if event["event"] == "chunk":
                logger.debug("%s begins with step %d of epoch %d", name, event["step"] + 1, event["epoch"])
            elif worth.telling(event):
                bars.stop()  # or the log's line ends up behind the bar
                _log(name, logger, event)
                bars.start()

        yield on_event


class WorthTelling:
    """Whether the log should have a line of an event.

    Of epochs it has the first, the last and one in EPOCH_LINE_EVERY_S; of features one for each tenth; one in
    LINE_EVERY_S within an epoch or a tenth; all else.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._told_at, self._tenths, self._silent_since = clock, float("-inf"), 0, clock()

    def telling(self, event: Event) -> bool:
        told = self._telling(event) or self._clock() - self._silent_since >= LINE_EVERY_S
        if told:
            self._silent_since = self._clock()
        return told

    def _telling(self, event: Event) -> bool:
        if event["event"] in {"features", "comparing"}:
            before, self._tenths = self._tenths, 10 * event["rows"] // event["of"]
            return self._tenths > before
        return event["event"] not in {"progress", "reading", "predicting"} and (
            event["event"] != "epoch" or self._epoch(event)
        )

    def _epoch(self, event: Event) -> bool:
        ends = event["epoch"] == event["epochs"] or event["stopping"]
        if not ends and self._clock() - self._told_at < EPOCH_LINE_EVERY_S:
            return False
        self._told_at = self._clock()
        return True


def _bar(name: str, event: Event) -> dict[str, Any]:
    """What the event changes of the bar."""
    if event["event"] in {"progress", "epoch"}:
        steps = event["steps"]
        return {
            "completed": (event["epoch"] - 1) * steps + event.get("step", steps),
            "total": event["epochs"] * steps,
            "description": f"{name} epoch {event['epoch']}/{event['epochs']}",
            "metrics": f"loss {event['loss']:.3f} accuracy {event['accuracy']:.3f}",
        }
    if event["event"] in {"features", "reading", "comparing"}:
        return {"completed": event["rows"], "total": event["of"], "metrics": event["event"]}
    if event["event"] == "predicting":
        return {"completed": event["rows"], "metrics": "predicting"}
    return {"metrics": f"evaluating on {event['split']}"} if event["event"] == "evaluating" else {}


def _log(name: str, logger: Logger, event: Event) -> None:
    kind = event["event"]
    if kind == "epoch":
        logger.info(
            "%s epoch %d/%d: loss %.4f accuracy %.4f, validation loss %.4f accuracy %.4f%s",
            name,
            *(event[key] for key in ("epoch", "epochs", "loss", "accuracy", "validation_loss", "validation_accuracy")),
            "; stopping early" if event["stopping"] else "",
        )
    elif kind == "progress":
        logger.info(
            "%s epoch %d/%d, step %d of %d: loss %.4f accuracy %.4f",
            name,
            *(event[key] for key in ("epoch", "epochs", "step", "steps", "loss", "accuracy")),
        )
    elif kind == "features":
        logger.info("%s has features of %s of %s rows", name, f"{event['rows']:,}", f"{event['of']:,}")
    elif kind == "comparing":
        logger.info("%s: %s of %s comparisons of images are made", name, f"{event['rows']:,}", f"{event['of']:,}")
    elif kind == "reading":
        logger.info("%s is prepared: %s of %s rows have been read", name, f"{event['rows']:,}", f"{event['of']:,}")
    elif kind == "predicting":
        logger.info("%s has predicted %s images so far", name, f"{event['rows']:,}")
    elif kind == "resumed":
        logger.info("%s resumes after epoch %d, step %d", name, event["epoch"], event["step"])
    elif kind == "waiting":
        logger.info("%s waits for %s, which is at the same work", name, event["for"])
    elif kind == "stopped":
        logger.info(
            "%s was asked to stop; its state after epoch %d, step %d is saved", name, event["epoch"], event["step"]
        )
    elif kind == "evaluating":
        logger.info("%s is evaluated on %s: %s rows", name, event["split"], f"{event['rows']:,}")
    elif kind == "note":
        logger.info("%s %s", name, event["message"])
    else:
        logger.warning("%s: %s", name, event["message"])
