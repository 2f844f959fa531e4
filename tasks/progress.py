"""A training's progress by epoch, as an artifact of its run in the Prefect UI."""

import logging
import re
import time
from collections.abc import Callable
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from lib.errors import one_line
from lib.reporting.wording import duration
from lib.runtime.jobs import Event
from tasks.outages import fault_of, shown_only

Logger = logging.Logger | logging.LoggerAdapter
EVERY_S = 2.0
"""No more often is the artifact updated, but for the last epoch."""
PAUSE_S = 60.0
"""After a failure: while a server that hangs is waited for, nobody follows the training."""
BARS = "▁▂▃▄▅▆▇█"
MOST_BARS = 40


class EpochProgress:
    """One artifact, updated as epochs end. What cannot be shown is logged and harms no training."""

    def __init__(self, name: str, logger: Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = re.sub("[^a-z0-9-]+", "-", f"progress-{name}".lower()).strip("-")
        self._logger, self._clock = logger, clock
        self._artifact: UUID | None = None
        self._accuracies: list[float] = []
        self._first: tuple[int, float] | None = None
        self._shown_at = float("-inf")

    def show(self, event: Event) -> None:
        """Take in the job's event, where an epoch has ended."""
        if event["event"] != "epoch":
            return
        self._accuracies.append(event["validation_accuracy"])
        self._first = self._first or (event["epoch"], self._clock())
        last = event["epoch"] == event["epochs"] or event["stopping"]
        if self._clock() - self._shown_at < EVERY_S and not last:
            return
        self._shown_at = self._clock()
        percent, said = 100 * event["epoch"] / event["epochs"], self._said(event)
        try:
            with shown_only():
                self._show(percent, said)
        except Exception as error:
            self._shown_at = self._clock() + PAUSE_S
            why = fault_of(error) or one_line(error)
            self._logger.warning("progress cannot be shown in the Prefect UI: %s", why)

    def _show(self, percent: float, said: str) -> None:
        if self._artifact:
            update_progress_artifact(self._artifact, percent, description=said)
        else:
            self._artifact = create_progress_artifact(percent, key=self._key, description=said)  # type: ignore[assignment]

    def _said(self, event: Event) -> str:
        """Plain text: the UI's cards show Markdown as it is written."""
        figures = (
            f"epoch {event['epoch']} of {event['epochs']}{self._left(event)}: "
            f"loss {event['loss']:.4f}, accuracy {event['accuracy']:.4f}; "
            f"on validation loss {event['validation_loss']:.4f}, accuracy {event['validation_accuracy']:.4f}"
        )
        return f"{figures}; accuracy on validation by epoch: {chart(self._accuracies)}"

    def _left(self, event: Event) -> str:
        """The time left, once two epochs have told how long one takes."""
        first, at = self._first or (event["epoch"], 0.0)
        done, left = event["epoch"] - first, event["epochs"] - event["epoch"]
        return f", about {duration((self._clock() - at) / done * left)} left" if done and left else ""


def chart(values: list[float]) -> str:
    """The last values as bars from the lowest to the highest of them: ▁▄█."""
    shown = values[-MOST_BARS:]
    low, high = min(shown), max(shown)
    return "".join(BARS[round((value - low) / (high - low or 1) * (len(BARS) - 1))] for value in shown)
