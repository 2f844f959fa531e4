"""The leaderboard of a report: which rows it has, in which order, under which names and with which columns."""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lib.evaluation.intervals import accuracy_over_seeds
from lib.evaluation.metrics import SplitMetrics, read_metrics
from lib.evaluation.paired import shared_ranks
from lib.lineage.digests import digest_json
from lib.lineage.manifests import Manifest, Ref, load
from lib.reporting.makers import input_name
from lib.store import Store

BASELINE = "the 2023 notebook's settings"
COLUMNS = {
    "rank": "Rank",
    "model": "Model",
    "seeds": "Seeds",
    "validation_accuracy": "Validation accuracy",
    "test_accuracy": "Test accuracy",
    **{
        f"{split}_{metric}": f"{split.capitalize()} {title}"
        for split in ("validation", "test")
        for metric, title in {"top5_accuracy": "top-5", "macro_f1": "macro F1", "loss": "loss"}.items()
    },
    "parameters": "Parameters",
    "epochs": "Epochs",
}
"""All that a table may show, with titles; `columns` chooses."""
NARROW = ("rank", "model", "validation_accuracy", "test_accuracy")
"""Of COLUMNS, what a page beside menus has room for: each model's own section says the rest."""
PHONE = ("model", "validation_accuracy", "test_accuracy")
"""Of COLUMNS, what a phone has room for."""
ACCURACIES = ("validation_accuracy", "test_accuracy")
METRICS = ("accuracy", "top5_accuracy", "macro_f1", "loss")
FIVE = 5
"""Of no more classes than these, the top five hold the right one always."""


def columns(classes: int, show_test: bool, several_seeds: bool) -> dict[str, str]:
    """Those of COLUMNS that a table has: of so many classes, with figures on test, with more than a seed a model."""
    split = "test" if show_test else "validation"
    left_out = {f"{other}_{metric}" for other in {"validation", "test"} - {split} for metric in METRICS[1:]}
    left_out |= set() if show_test else {"test_accuracy"}
    left_out |= set() if several_seeds else {"seeds"}
    left_out |= set() if classes > FIVE else {f"{split}_top5_accuracy"}
    return {key: title for key, title in COLUMNS.items() if key not in left_out}


def facts_of_rows(show_test: bool) -> tuple[str, ...]:
    """What a row has, in the order of the CSV file."""
    splits = ("validation", "test") if show_test else ("validation",)
    figures = [f"{split}_{metric}" for split in splits for metric in METRICS]
    of_accuracies = [f"{split}_accuracy_{each}" for split in splits for each in ("low", "high", "deviation")]
    return (
        *("rank", "model", *figures, *of_accuracies),
        *("parameters", "epochs", "seed", "seeds", "baseline", "evaluations"),
    )


class Entry(NamedTuple):
    """An evaluation that is to be ranked."""

    ref: Ref
    evaluation: Manifest
    metrics: Mapping[str, SplitMetrics]
    """By split."""
    right: Mapping[str, np.ndarray]
    """(N,) bool: which images of validation and test its model has right."""
    settings: str
    """A digest of what its model was trained on and with, but for the seed."""

    @property
    def name(self) -> str:
        """As an input of the report."""
        return input_name(self.ref)


Group = Sequence[Entry]
"""Those that differ in nothing but their seed, the best on validation first: one row of the leaderboard."""


def read_entry(store: Store, evaluation: Ref) -> Entry:
    """Raises PermanentError where its files are not those of such an evaluation."""
    from lib.evaluation.prediction_table import HELD_OUT, read_right  # with pandas: who shows a leaderboard needs none

    manifest = load(store, evaluation)
    model = load(store, manifest.inputs["model"])
    made_of = {"recipe": model.facts["recipe"], "weights": model.facts["weights"], "limit": model.facts["limit"]}
    return Entry(
        evaluation,
        manifest,
        read_metrics(store, manifest),
        {split: read_right(store, manifest, split) for split in HELD_OUT},
        digest_json(made_of),
    )


def grouped(entries: Iterable[Entry]) -> list[Group]:
    """The entries by what they were trained with: highest mean accuracy on validation first, then lowest mean loss."""
    groups: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: by_validation(entry.evaluation)):
        groups.setdefault(entry.settings, []).append(entry)
    return sorted(groups.values(), key=lambda group: (-_mean(group, "accuracy"), _mean(group, "loss")))


def _values(group: Group, metric: str, split: str = "validation") -> list[float]:
    return [entry.evaluation.facts["metrics"][split][metric] for entry in group]


def _mean(group: Group, metric: str, split: str = "validation") -> float:
    values = _values(group, metric, split)
    return math.fsum(values) / len(values)


def leaderboard_rows(groups: Sequence[Group], show_test: bool) -> list[dict[str, Any]]:
    """One row a group of `grouped`: means over its seeds. Test decides nothing, and is there where `show_test`.

    A rank is shared where the validation images do not tell two models apart (`lib.evaluation.paired.shared_ranks`).
    """
    names = names_of([group[0].evaluation for group in groups], [len(group) > 1 for group in groups])
    ranks = shared_ranks([right_of(group, "validation") for group in groups])
    return [
        {"rank": rank, "model": name, **_figures(group, show_test)}
        for rank, name, group in zip(ranks, names, groups, strict=True)
    ]


def right_of(group: Group, split: str) -> np.ndarray:
    """(seeds, N) bool: which images of `split` each seed has right."""
    return np.stack([entry.right[split] for entry in group])


def _figures(group: Group, show_test: bool) -> dict[str, Any]:
    best, figures = group[0].evaluation.facts, dict[str, Any]()
    for split in ("validation", "test") if show_test else ("validation",):
        figures |= {f"{split}_{metric}": _mean(group, metric, split) for metric in METRICS}
        of_seeds = accuracy_over_seeds(right_of(group, split))
        low, high = of_seeds.interval or group[0].metrics[split].intervals["accuracy"]
        ends = {"low": low, "high": high, "deviation": of_seeds.deviation}
        figures |= {f"{split}_accuracy_{name}": value for name, value in ends.items()}
    return {
        **figures,
        **{fact: best[fact] for fact in ("parameters", "epochs", "seed", "baseline")},
        "seeds": sorted(entry.evaluation.facts["seed"] for entry in group),
        "evaluations": [entry.name for entry in group],
    }


def bounds(row: Mapping[str, Any], column: str) -> str:
    """The 95 % interval of an accuracy of `row`, and the deviation of its seeds; empty for other columns."""
    if column not in ACCURACIES:
        return ""
    deviation = row[f"{column}_deviation"]
    spread = "" if deviation is None else f"; deviation {deviation:.4f}"
    return f"{row[f'{column}_low']:.3f} to {row[f'{column}_high']:.3f}{spread}"


def cell(row: Mapping[str, Any], column: str) -> str:
    """What a table shows of `row` in `column`: an accuracy with its 95 % interval."""
    if column == "seeds":
        return shown(len(row["seeds"]))
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


def names_of(evaluations: Sequence[Manifest], with_seeds: Sequence[bool]) -> list[str]:
    """The recipe's name, with its weights, its seed or the model's key where that alone would be said twice.

    `with_seeds` says which of them stand for several seeds: a seed is no name of theirs.
    """
    choices = [
        [
            str(each.facts["recipe"]),
            f"{each.facts['recipe']}, weights {each.facts['weights']}",
            *([] if several else [f"{each.facts['recipe']}, seed {each.facts['seed']}"]),
            f"{each.facts['recipe']}, {each.inputs['model'].uri.rsplit('/')[-1]}",
        ]
        for each, several in zip(evaluations, with_seeds, strict=True)
    ]
    counts = Counter(name for names in choices for name in names)
    return [next((name for name in names if counts[name] == 1), names[-1]) for names in choices]


def leaderboard_csv(rows: list[dict[str, Any]], show_test: bool) -> bytes:
    """The rows as a CSV file."""
    text = io.StringIO()
    table = csv.DictWriter(text, facts_of_rows(show_test))
    table.writeheader()
    for row in rows:
        table.writerow({**row, **{name: " ".join(map(str, row[name])) for name in ("seeds", "evaluations")}})
    return text.getvalue().encode()
