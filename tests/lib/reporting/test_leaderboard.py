"""Models are ranked by validation, each under a name of its own."""

import csv
from math import log

import numpy as np
import pytest

from lib.evaluation.intervals import Interval
from lib.evaluation.metrics import WITH_INTERVALS, SplitMetrics
from lib.lineage.manifests import Manifest, Ref, load, local_file
from lib.reporting.leaderboard import BASELINE, Entry, leaderboard_rows
from lib.reporting.report import build_report, leaderboard_table, report_url
from lib.store import LocalStore

from . import made


def test_models_are_ranked_by_validation_and_not_by_test(store: LocalStore, report: Ref) -> None:
    rows = load(store, report).facts["leaderboard"]
    assert [(row["rank"], row["model"]) for row in rows] == [(1, "digits-cnn"), (2, "digits-softmax")]
    # Of 144 validation rows 108 and 72 are right, of 360 test rows 288 and 360.
    assert [(row["validation_accuracy"], row["test_accuracy"]) for row in rows] == [(0.75, 0.8), (0.5, 1.0)]
    # All right, each with probability 0.9: −ln 0.9.
    assert rows[1]["test_loss"] == pytest.approx(-log(0.9), abs=1e-6)
    assert (rows[1]["test_macro_f1"], rows[1]["parameters"], rows[1]["epochs"]) == (1.0, 50_138, 2)


def entry(recipe: str, right: int, validation_loss: float = 1.0, of: int = 100, seed: int = 0) -> Entry:
    """A model that has the first `right` of the validation images right."""
    split = {"accuracy": right / of, "loss": validation_loss, "top5_accuracy": 1.0, "macro_f1": 0.5}
    facts = {"recipe": recipe, "seed": seed, "weights": None, "parameters": 1, "epochs": 1, "baseline": False}
    model = Ref(uri=f"models/toy/{recipe}/{seed}", sha256="0" * 64)
    evaluation = Manifest(
        kind="evaluation",
        inputs={"model": model},
        facts={**facts, "metrics": {"validation": split, "test": split}},
        content={},
        files={},
        made_by={},
    )
    bounds = {name: Interval(0.25, 0.75) for name in WITH_INTERVALS}
    metrics = SplitMetrics(rows=of, per_class=[], confusion=[], intervals=bounds, **split)
    return Entry(evaluation, {"validation": metrics, "test": metrics}, np.arange(of) < right)


def test_equal_accuracy_on_validation_is_decided_by_loss_on_validation() -> None:
    rows = leaderboard_rows([entry("a", 50, 1.2), entry("b", 50, 0.7), entry("c", 50, 0.9)])
    assert [(row["rank"], row["model"]) for row in rows] == [(1, "b"), (1, "c"), (1, "a")]


def test_a_rank_is_shared_where_the_images_do_not_tell_models_apart() -> None:
    # Against the first, 5 and 6 images more are wrong: exact two-sided p is 2/2^5 = 0.0625 and 2/2^6 = 0.03125.
    rows = leaderboard_rows([entry("a", 84), entry("b", 90), entry("c", 85), entry("d", 83)])
    assert [(row["rank"], row["model"]) for row in rows] == [(1, "b"), (1, "c"), (3, "a"), (3, "d")]


def test_a_recipe_that_stands_there_twice_is_named_with_its_seed_or_else_its_key(
    store: LocalStore, prepared: Ref, evaluations: list[Ref]
) -> None:
    other_seed = made.evaluated(store, prepared, "digits-cnn", (1, 0.7, 0.7), seed=7)
    other_rate = made.evaluated(store, prepared, "digits-cnn", (1, 0.6, 0.7), seed=7, dropout=0.1)
    refs = [*evaluations, other_seed, other_rate]
    report = build_report(store, prepared, refs)
    keys = [load(store, ref).inputs["model"].uri.split("/")[-1] for ref in (other_seed, other_rate)]
    assert [row["model"] for row in load(store, report).facts["leaderboard"]] == [
        "digits-cnn, seed 0",
        f"digits-cnn, {keys[0]}",
        f"digits-cnn, {keys[1]}",
        "digits-softmax",
    ]
    inputs = load(store, report).inputs
    assert {name: inputs[name] for name in inputs if name != "prepared"} == {
        f"evaluation-{recipe}-{ref.uri.split('/')[-1]}": ref
        for recipe, ref in zip(["digits-softmax", *["digits-cnn"] * 3], refs, strict=True)
    }


def test_the_table_and_the_csv_show_the_leaderboard(store: LocalStore, report: Ref) -> None:
    # Wilson's intervals of 108 of 144 and of 288 of 360 by his formula, with z = 1.959964:
    # (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n) = (0.7500 + 0.0133 ± 0.0719) / 1.0267 …
    first, second = leaderboard_table(store, report)
    assert first == {
        "Rank": "1",
        "Model": "digits-cnn",
        "Validation accuracy": "0.7500 (0.673 to 0.814)",
        "Test accuracy": "0.8000 (0.756 to 0.838)",
        "Test top-5": first["Test top-5"],
        "Test macro F1": first["Test macro F1"],
        "Test loss": first["Test loss"],
        "Parameters": "50,138",
        "Epochs": "2",
        "Training time": "1 min 15 s",
        "Kind": "",
        "Note": "",
    }
    assert (second["Model"], second["Training time"]) == ("digits-softmax", "4.2 s")
    assert (second["Kind"], second["Note"]) == ("baseline", BASELINE)
    lines = list(csv.DictReader(local_file(store, load(store, report), "leaderboard").read_text().splitlines()))
    assert [(line["model"], float(line["validation_accuracy"])) for line in lines] == [
        ("digits-cnn", 0.75),
        ("digits-softmax", 0.5),
    ]
    assert report_url(store, report).startswith("file:///")
