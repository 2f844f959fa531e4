"""A training's progress by epoch, as an artifact of its run in the Prefect UI."""

import logging
import re
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from lib.runtime.jobs import Event

Logger = logging.Logger | logging.LoggerAdapter
LINES = 10
HEADER = "| epoch | loss | accuracy | validation loss | validation accuracy |\n| ---: | ---: | ---: | ---: | ---: |"
SHOWN = ("loss", "accuracy", "validation_loss", "validation_accuracy")


class EpochProgress:
    """One artifact, updated after each epoch. What cannot be shown is logged and harms no training."""

    def __init__(self, name: str, logger: Logger) -> None:
        self._key = re.sub("[^a-z0-9-]+", "-", f"progress-{name}".lower()).strip("-")
        self._logger = logger
        self._artifact: UUID | None = None
        self._lines: list[str] = []

    def show(self, event: Event) -> None:
        """Take in the job's event, where an epoch has ended."""
        if event["event"] != "epoch":
            return
        line = f"| {event['epoch']} of {event['epochs']} | " + " | ".join(f"{event[name]:.4f}" for name in SHOWN) + " |"
        self._lines = [line, *self._lines[: LINES - 1]]
        percent, table = 100 * event["epoch"] / event["epochs"], "\n".join([HEADER, *self._lines])
        try:
            if self._artifact:
                update_progress_artifact(self._artifact, percent, description=table)
            else:
                self._artifact = create_progress_artifact(percent, key=self._key, description=table)  # type: ignore[assignment]
        except Exception as error:
            self._logger.warning("progress cannot be shown in the Prefect UI: %s", error)
