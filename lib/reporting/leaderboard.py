"""The leaderboard of a report: which rows it has, in which order, under which names and with which columns."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lib.lineage.manifests import Manifest

BASELINE = "the 2023 notebook's settings"
COLUMNS = {
    "rank": "Rank",
    "model": "Model",
    "validation_accuracy": "Validation accuracy",
    "test_accuracy": "Test accuracy",
    "test_top5_accuracy": "Test top-5",
    "test_macro_f1": "Test macro F1",
    "test_loss": "Test loss",
    "parameters": "Parameters",
    "epochs": "Epochs",
}
NARROW = ("rank", "model", "validation_accuracy", "test_accuracy", "test_loss")
"""Of COLUMNS, what a page beside menus has room for: each model's own section says the rest."""
PHONE = ("model", "validation_accuracy", "test_accuracy")
"""Of COLUMNS, what a phone has room for."""
FACTS = (*COLUMNS, "seed", "baseline")
FIVE = 5
"""Of no more classes than these, the top five hold the right one always."""


def columns(classes: int) -> dict[str, str]:
    """COLUMNS, as far as they tell models of so many classes apart."""
    return {key: title for key, title in COLUMNS.items() if classes > FIVE or key != "test_top5_accuracy"}


def leaderboard_rows(evaluations: Sequence[Manifest]) -> list[dict[str, Any]]:
    """One row a model, by accuracy on validation, then by loss on validation. Test is shown and decides nothing."""
    ordered = sorted(evaluations, key=by_validation)
    return [
        {
            "rank": place,
            "model": name,
            "validation_accuracy": evaluation.facts["metrics"]["validation"]["accuracy"],
            **{
                f"test_{metric}": evaluation.facts["metrics"]["test"][metric]
                for metric in ("accuracy", "top5_accuracy", "macro_f1", "loss")
            },
            **{fact: evaluation.facts[fact] for fact in ("parameters", "epochs", "seed", "baseline")},
        }
        for place, (name, evaluation) in enumerate(zip(_names(ordered), ordered, strict=True), 1)
    ]


def by_validation(evaluation: Manifest) -> tuple[float, float, str]:
    """Sorts the best first, and always the same way."""
    validation = evaluation.facts["metrics"]["validation"]
    return -validation["accuracy"], validation["loss"], evaluation.inputs["model"].uri


def shown(value: Any) -> str:
    """A number as a person reads it: shares and losses with four places, counts in thousands."""
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _names(evaluations: Sequence[Manifest]) -> list[str]:
    """The recipe's name, with its weights, its seed or the model's key where that alone would be said twice."""
    choices = [
        [
            str(each.facts["recipe"]),
            f"{each.facts['recipe']}, weights {each.facts['weights']}",
            f"{each.facts['recipe']}, seed {each.facts['seed']}",
            f"{each.facts['recipe']}, {each.inputs['model'].uri.rsplit('/')[-1]}",
        ]
        for each in evaluations
    ]
    counts = Counter(name for names in choices for name in names)
    return [next((name for name in names if counts[name] == 1), names[-1]) for names in choices]


def leaderboard_csv(rows: list[dict[str, Any]]) -> bytes:
    """The rows as a CSV file."""
    text = io.StringIO()
    table = csv.DictWriter(text, FACTS)
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()
