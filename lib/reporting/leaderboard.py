"""The leaderboard of a report: which rows it has, in which order, under which names and with which columns."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lib.evaluation.metrics import SplitMetrics, read_metrics
from lib.evaluation.paired import shared_ranks
from lib.lineage.manifests import Manifest
from lib.store import Store

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
NARROW = ("rank", "model", "validation_accuracy", "test_accuracy")
"""Of COLUMNS, what a page beside menus has room for: each model's own section says the rest."""
PHONE = ("model", "validation_accuracy", "test_accuracy")
"""Of COLUMNS, what a phone has room for."""
ACCURACIES = ("validation_accuracy", "test_accuracy")
BOUNDS = tuple(f"{column}_{end}" for column in ACCURACIES for end in ("low", "high"))
"""Of their 95 % intervals."""
FACTS = (*COLUMNS, *BOUNDS, "seed", "baseline")
FIVE = 5
"""Of no more classes than these, the top five hold the right one always."""


def columns(classes: int) -> dict[str, str]:
    """COLUMNS, as far as they tell models of so many classes apart."""
    return {key: title for key, title in COLUMNS.items() if classes > FIVE or key != "test_top5_accuracy"}


class Entry(NamedTuple):
    """A model that is to be ranked."""

    evaluation: Manifest
    metrics: Mapping[str, SplitMetrics]
    """By split."""
    right: np.ndarray
    """(N,) bool: which validation images it has right."""


def read_entry(store: Store, evaluation: Manifest) -> Entry:
    """Raises PermanentError where its files are not those of such an evaluation."""
    from lib.evaluation.prediction_table import read_right  # with pandas: who shows a leaderboard needs none

    return Entry(evaluation, read_metrics(store, evaluation), read_right(store, evaluation, "validation"))


def leaderboard_rows(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """One row a model, by accuracy on validation, then by loss on validation. Test is shown and decides nothing.

    A rank is shared where the validation images do not tell two models apart (`lib.evaluation.paired.shared_ranks`).
    """
    ordered = sorted(entries, key=lambda entry: by_validation(entry.evaluation))
    names = names_of([entry.evaluation for entry in ordered])
    ranks = shared_ranks([entry.right for entry in ordered])
    return [
        {"rank": rank, "model": name, **_figures(entry)}
        for rank, name, entry in zip(ranks, names, ordered, strict=True)
    ]


def _figures(entry: Entry) -> dict[str, Any]:
    facts = entry.evaluation.facts
    validation, test = (facts["metrics"][split] for split in ("validation", "test"))
    bounds = [bound for split in ("validation", "test") for bound in entry.metrics[split].intervals["accuracy"]]
    return {
        "validation_accuracy": validation["accuracy"],
        **{f"test_{metric}": test[metric] for metric in ("accuracy", "top5_accuracy", "macro_f1", "loss")},
        **dict(zip(BOUNDS, bounds, strict=True)),
        **{fact: facts[fact] for fact in ("parameters", "epochs", "seed", "baseline")},
    }


def bounds(row: Mapping[str, Any], column: str) -> str:
    """The 95 % interval of an accuracy of `row`; empty for other columns."""
    return f"{row[f'{column}_low']:.3f} to {row[f'{column}_high']:.3f}" if column in ACCURACIES else ""


def cell(row: Mapping[str, Any], column: str) -> str:
    """What a table shows of `row` in `column`: an accuracy with its 95 % interval."""
    interval = bounds(row, column)
    return f"{shown(row[column])} ({interval})" if interval else shown(row[column])


def by_validation(evaluation: Manifest) -> tuple[float, float, str]:
    """Sorts the best first, and always the same way."""
    validation = evaluation.facts["metrics"]["validation"]
    return -validation["accuracy"], validation["loss"], evaluation.inputs["model"].uri


def shown(value: Any) -> str:
    """A number as a person reads it: shares and losses with four places, counts in thousands."""
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def names_of(evaluations: Sequence[Manifest]) -> list[str]:
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
