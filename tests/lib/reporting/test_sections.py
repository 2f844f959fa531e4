"""What a section says in words is worked out from settings, seconds and confusions."""

import pytest

from lib.evaluation.metrics import ClassMetrics, SplitMetrics
from lib.reporting.sections import confused
from lib.reporting.wording import duration, settings


def test_frequent_mistakes_come_first() -> None:
    classes = [ClassMetrics(name=name, precision=0, recall=0, f1=0, rows=0) for name in ("cat", "oak_tree", "eel")]
    metrics = SplitMetrics(
        rows=20, loss=1, accuracy=0, top5_accuracy=1, macro_f1=0, per_class=classes,
        confusion=[[5, 2, 0], [3, 1, 4], [0, 0, 5]],
    )  # fmt: skip
    assert confused(metrics) == [("oak tree", "eel", 4, 8), ("oak tree", "cat", 3, 8), ("cat", "oak tree", 2, 7)]


def test_settings_leave_out_what_optimizer_and_schedule_ignore() -> None:
    phase = {"epochs": 2, "optimizer": "adam", "learning_rate": 1e-4, "momentum": 0.9, "decay_per_epoch": 1.0}
    lines = settings({"name": "x", "early_stopping_epochs": None, "deterministic": True, "phases": [phase]})
    assert lines == [
        ("early stopping epochs", "none"),
        ("deterministic", "yes"),
        ("phase 1", "epochs 2, optimizer adam, learning rate 0.0001"),
    ]
    assert "momentum 0.9" in settings({"phases": [{**phase, "optimizer": "sgd"}]})[0][1]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (4.24, "4.2 s"),
        (59.96, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 0 min"),
        (7530, "2 h 5 min"),
    ],
)
def test_times_are_said_as_a_person_says_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_sizes_are_words_and_not_python() -> None:
    sizes = [{"epochs": 6, "px": 16}, {"epochs": 5, "px": 24}]
    assert settings({"phases": [{"epochs": 15, "sizes": sizes}]}) == [
        ("phase 1", "epochs 15, sizes (epochs 6, px 16; epochs 5, px 24)")
    ]
