"""A training's epochs in the Prefect UI and in the log."""

import logging
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks import display, outages, progress
from tests.tasks.test_server import silent

ID = UUID(int=1)


def epoch(number: int, **more: object) -> dict[str, Any]:
    figures = {"loss": 2 / number, "accuracy": 0.5, "validation_loss": 1.0, "validation_accuracy": number / 20}
    return {"event": "epoch", "epoch": number, "epochs": 20, "stopping": False, **figures, **more}


class Clock:
    """Stands still but for `advance`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str]]:
    """What the artifact says, each time anew."""
    said: list[tuple[float, str]] = []

    def create(percent: float, key: str, description: str) -> UUID:
        assert key == "progress-mobilenet-weights-none"
        assert not said
        said.append((percent, description))
        return ID

    def update(id: UUID, percent: float, description: str) -> None:
        assert id == ID
        said.append((percent, description))

    monkeypatch.setattr(progress, "create_progress_artifact", create)
    monkeypatch.setattr(progress, "update_progress_artifact", update)
    return said


def follow(seconds_an_epoch: float, epochs: int, show: Callable[[dict[str, Any]], Any], clock: Clock) -> None:
    for number in range(1, epochs + 1):
        clock.now += seconds_an_epoch
        show(epoch(number))


def test_one_artifact_shows_the_last_epoch_a_chart_and_the_time_left(shown: list[tuple[float, str]]) -> None:
    clock = Clock()
    artifact = progress.EpochProgress("mobilenet (weights: none)", logging.getLogger(), clock)
    artifact.show({"event": "resumed"})
    follow(30.0, 8, artifact.show, clock)
    assert [percent for percent, _ in shown] == [5.0 * number for number in range(1, 9)]
    assert shown[0][1].startswith("epoch 1 of 20: loss 2.0000, accuracy 0.5000; ")
    assert shown[-1][1] == (
        "epoch 8 of 20, about 6 min 0 s left: loss 0.2500, accuracy 0.5000; on validation loss 1.0000, "
        "accuracy 0.4000; accuracy on validation by epoch: ▁▂▃▄▅▆▇█"
    )


def test_tiny_epochs_trouble_the_server_every_two_seconds_and_at_the_end(shown: list[tuple[float, str]]) -> None:
    clock = Clock()
    follow(0.5, 20, progress.EpochProgress("mobilenet (weights: none)", logging.getLogger(), clock).show, clock)
    assert [percent for percent, _ in shown] == [5.0, 25.0, 45.0, 65.0, 85.0, 100.0]


def test_a_level_line_is_drawn_as_one() -> None:
    assert progress.chart([0.5, 0.5, 0.5]) == "▁▁▁"
    assert len(progress.chart([float(number) for number in range(100)])) == 40


def test_what_cannot_be_shown_harms_no_training(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("no server")

    monkeypatch.setattr(progress, "create_progress_artifact", refuse)
    with caplog.at_level(logging.WARNING):
        progress.EpochProgress("digits-cnn", logging.getLogger("shown")).show(epoch(1))
    assert "progress cannot be shown in the Prefect UI: no server" in caplog.text


@pytest.mark.parametrize(
    ("seconds_an_epoch", "told"),
    [(0.01, [1, 20]), (1.0, [1, 6, 11, 16, 20]), (60.0, list(range(1, 21)))],
)
def test_the_log_has_a_line_an_epoch_or_one_in_five_seconds(seconds_an_epoch: float, told: list[int]) -> None:
    clock, lines = Clock(), list[int]()
    worth = display.WorthTelling(clock)
    follow(seconds_an_epoch, 20, lambda event: lines.append(event["epoch"]) if worth.telling(event) else None, clock)
    assert lines == told
    assert worth.telling(epoch(3, stopping=True))
    assert [rows for rows in range(0, 101, 5) if worth.telling({"event": "features", "rows": rows, "of": 100})] == [
        *range(10, 101, 10)
    ]


def test_within_a_long_epoch_or_tenth_the_log_has_a_line_a_minute() -> None:
    clock, told = Clock(), list[float]()
    worth, began = display.WorthTelling(clock), clock.now
    long_ones = [{"event": "progress"}] * 20 + [{"event": "features", "rows": 1, "of": 100}] * 20
    for event in long_ones:
        clock.now += 9
        if worth.telling(event):
            told.append(clock.now - began)
    assert told == [63, 126, 189, 252, 315]


@pytest.mark.filterwarnings("ignore:Artifact creation outside of a flow")
def test_a_server_that_hangs_holds_no_training_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outages, "SHOWS_WITHIN_S", 0.3)
    clock = Clock()
    began = time.monotonic()
    with silent() as at, temporary_settings({PREFECT_API_URL: f"http://{at}/api"}), caplog.at_level(logging.WARNING):
        shown = progress.EpochProgress("digits-cnn", logging.getLogger("shown"), clock)
        follow(10.0, 9, shown.show, clock)
    assert time.monotonic() - began < 10
    warned = [record.getMessage() for record in caplog.records]
    said = f"progress cannot be shown in the Prefect UI: the Prefect server http://{at}/api cannot be reached: "
    assert [line.startswith(said) for line in warned] == [True, True], "the second time after a minute"
