"""A training's epochs in the Prefect UI."""

import logging
from uuid import UUID

import pytest

from tasks import progress

ID = UUID(int=1)


def epoch(number: int) -> dict[str, object]:
    figures = {"loss": 2 / number, "accuracy": 0.5, "validation_loss": 1.0, "validation_accuracy": 0.25}
    return {"event": "epoch", "epoch": number, "epochs": 20, **figures}


def test_one_artifact_shows_the_last_ten_epochs_the_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, float]] = []
    updated: list[tuple[UUID, float, str]] = []

    def create(percent: float, key: str, description: str) -> UUID:
        made.append((key, percent))
        return ID

    monkeypatch.setattr(progress, "create_progress_artifact", create)
    monkeypatch.setattr(
        progress,
        "update_progress_artifact",
        lambda id, percent, description: updated.append((id, percent, description)),
    )
    shown = progress.EpochProgress("mobilenet (weights: none)", logging.getLogger())
    shown.show({"event": "resumed"})
    for number in range(1, 13):
        shown.show(epoch(number))
    assert made == [("progress-mobilenet-weights-none", 5.0)]
    assert [(id, percent) for id, percent, _ in updated] == [(ID, 5.0 * number) for number in range(2, 13)]
    lines = updated[-1][2].splitlines()
    assert lines[0] == "| epoch | loss | accuracy | validation loss | validation accuracy |"
    assert lines[2] == "| 12 of 20 | 0.1667 | 0.5000 | 1.0000 | 0.2500 |"
    assert [line.split()[1] for line in lines[2:]] == [str(number) for number in range(12, 2, -1)]


def test_what_cannot_be_shown_harms_no_training(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("no server")

    monkeypatch.setattr(progress, "create_progress_artifact", refuse)
    with caplog.at_level(logging.WARNING):
        progress.EpochProgress("digits-cnn", logging.getLogger("shown")).show(epoch(1))
    assert "progress cannot be shown in the Prefect UI: no server" in caplog.text
