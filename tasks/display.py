"""What a person sees while it runs: bars on a terminal, a line an epoch, or a tenth of the features, in the logs."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from lib.data.fetch import Progress as FetchProgress
from lib.runtime.jobs import Emit, Event
from tasks.progress import EpochProgress

Logger = logging.Logger | logging.LoggerAdapter


@contextmanager
def show_download() -> Iterator[FetchProgress]:
    """A bar for each file that is fetched, where standard error is a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bars:
        rows: dict[str, TaskID] = {}

        def update(name: str, done: int, total: int) -> None:
            if name not in rows:
                rows[name] = bars.add_task(name)
            bars.update(rows[name], completed=done, total=total or None)

        yield update


@contextmanager
def show_job(name: str, logger: Logger) -> Iterator[Emit]:
    """Follow a job's events: a bar on a terminal, and a log line an epoch."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[metrics]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bars:
        row = bars.add_task(name, total=None, metrics="starting")
        artifact = EpochProgress(name, logger)
        told = 0

        def on_event(event: Event) -> None:
            nonlocal told
            artifact.show(event)
            if event["event"] in {"progress", "epoch"}:
                steps = event["steps"]
                done = (event["epoch"] - 1) * steps + event.get("step", steps)
                bars.update(
                    row,
                    completed=done,
                    total=event["epochs"] * steps,
                    description=f"{name} epoch {event['epoch']}/{event['epochs']}",
                    metrics=f"loss {event['loss']:.3f} accuracy {event['accuracy']:.3f}",
                )
            if event["event"] == "features":
                bars.update(row, completed=event["rows"], total=event["of"], metrics="features")
                percent = 100 * event["rows"] // event["of"]
                if percent // 10 == told // 10:
                    return
                told = percent
            if event["event"] == "evaluating":
                bars.update(row, metrics=f"evaluating on {event['split']}")
            if event["event"] == "chunk":
                logger.debug("%s begins with step %d of epoch %d", name, event["step"] + 1, event["epoch"])
            elif event["event"] != "progress":
                bars.stop()  # or the log's line ends up behind the bar
                _log(name, logger, event)
                bars.start()

        yield on_event


def _log(name: str, logger: Logger, event: Event) -> None:
    kind = event["event"]
    if kind == "epoch":
        logger.info(
            "%s epoch %d/%d: loss %.4f accuracy %.4f, validation loss %.4f accuracy %.4f%s",
            name,
            *(event[key] for key in ("epoch", "epochs", "loss", "accuracy", "validation_loss", "validation_accuracy")),
            "; stopping early" if event["stopping"] else "",
        )
    elif kind == "features":
        logger.info("%s has features of %s of %s rows", name, f"{event['rows']:,}", f"{event['of']:,}")

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
    else:
        logger.warning("%s: %s", name, event["message"])
