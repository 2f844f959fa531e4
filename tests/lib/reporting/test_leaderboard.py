"""Models are ranked by validation, each under a name of its own."""

import csv
from math import log
from typing import Any

import numpy as np
import pytest

from lib.evaluation.intervals import Interval
from lib.evaluation.metrics import WITH_INTERVALS, SplitMetrics
from lib.lineage.manifests import Manifest, Ref, load, local_file
from lib.reporting.leaderboard import BASELINE, Entry, grouped, leaderboard_rows
from lib.reporting.report import build_report
from lib.reporting.summary import best_model, leaderboard_table, report_url
from lib.store import LocalStore

from . import made


def test_models_are_ranked_by_validation_and_not_by_test(store: LocalStore, report: Ref) -> None:
    rows = load(store, report).facts["leaderboard"]
    assert [(row["rank"], row["model"]) for row in rows] == [(1, "digits-cnn"), (2, "digits-softmax")]
    assert [row["validation_accuracy"] for row in rows] == [0.75, 0.5]  # of 144 rows 108 and 72 are right
    # 108 with probability 0.9, and 36 with a ninth of the rest.
    assert rows[0]["validation_loss"] == pytest.approx(-0.75 * log(0.9) - 0.25 * log(0.1 / 9), abs=1e-6)
    assert (rows[1]["parameters"], rows[1]["epochs"], rows[1]["seeds"]) == (50_138, 2, [0])
    assert not any("test" in name for row in rows for name in row), "nobody asked for it"


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
    hits = dict.fromkeys(("validation", "test"), np.arange(of) < right)
    ref = Ref(uri=f"evaluations/toy/{recipe}/{seed}", sha256="0" * 64)
    return Entry(ref, evaluation, {"validation": metrics, "test": metrics}, hits, settings=recipe)


def ranked(*entries: Entry) -> list[dict[str, Any]]:
    return leaderboard_rows(grouped(entries), show_test=False)


def test_equal_accuracy_on_validation_is_decided_by_loss_on_validation() -> None:
    rows = ranked(entry("a", 50, 1.2), entry("b", 50, 0.7), entry("c", 50, 0.9))
    assert [(row["rank"], row["model"]) for row in rows] == [(1, "b"), (1, "c"), (1, "a")]


def test_a_rank_is_shared_where_the_images_do_not_tell_models_apart() -> None:
    # Against the first, 5 and 6 images more are wrong: exact two-sided p is 2/2^5 = 0.0625 and 2/2^6 = 0.03125.
    rows = ranked(entry("a", 84), entry("b", 90), entry("c", 85), entry("d", 83))
    assert [(row["rank"], row["model"]) for row in rows] == [(1, "b"), (1, "c"), (3, "a"), (3, "d")]


def test_a_recipe_that_stands_there_twice_is_named_with_its_seed_or_else_its_key(
    store: LocalStore, prepared: Ref, evaluations: list[Ref]
) -> None:
    other_seed = made.evaluated(store, prepared, "digits-cnn", (1, 0.7, 0.7), seed=7)
    other_rate = made.evaluated(store, prepared, "digits-cnn", (1, 0.6, 0.7), seed=7, dropout=0.1)
    refs = [*evaluations, other_seed, other_rate]
    report = build_report(store, prepared, refs)
    # Seeds 0 and 7 of the recipe as it is are one row, of 0.75 and 0.7 on validation.
    assert [(row["model"], row["seeds"]) for row in load(store, report).facts["leaderboard"]] == [
        (f"digits-cnn, {load(store, evaluations[1]).inputs['model'].uri.split('/')[-1]}", [0, 7]),
        ("digits-cnn, seed 7", [7]),
        ("digits-softmax", [0]),
    ]
    inputs = load(store, report).inputs
    assert {name: inputs[name] for name in inputs if name != "prepared"} == {
        f"evaluation-{recipe}-{ref.uri.split('/')[-1]}": ref
        for recipe, ref in zip(["digits-softmax", *["digits-cnn"] * 3], refs, strict=True)
    }


def test_the_table_and_the_csv_show_the_leaderboard(store: LocalStore, report: Ref) -> None:
    # Wilson's interval of 108 of 144 by his formula, with z = 1.959964:
    # (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n) = (0.7500 + 0.0133 ± 0.0719) / 1.0267.
    first, second = leaderboard_table(store, report)
    assert list(first.items()) == list(
        {
            "Rank": "1",
            "Model": "digits-cnn",
            "Validation accuracy": "0.7500 (0.673 to 0.814)",
            "Validation top-5": first["Validation top-5"],
            "Validation macro F1": first["Validation macro F1"],
            "Validation loss": first["Validation loss"],
            "Parameters": "50,138",
            "Epochs": "2",
            "Training time": "1 min 15 s",
            "Kind": "",
            "Note": "",
        }.items()
    )
    assert (second["Model"], second["Training time"]) == ("digits-softmax", "4.2 s")
    assert (second["Kind"], second["Note"]) == ("baseline", BASELINE)
    lines = list(csv.DictReader(local_file(store, load(store, report), "leaderboard").read_text().splitlines()))
    assert [(line["model"], float(line["validation_accuracy"])) for line in lines] == [
        ("digits-cnn", 0.75),
        ("digits-softmax", 0.5),
    ]
    assert report_url(store, report).startswith("file:///")


def test_figures_on_test_are_shown_where_they_are_asked_for_and_readings_are_counted(
    store: LocalStore, prepared: Ref, evaluations: list[Ref]
) -> None:
    first = build_report(store, prepared, evaluations, show_test=True)
    again = build_report(store, prepared, evaluations, show_test=True)
    other = build_report(store, prepared, evaluations[:1], show_test=True)
    rows = load(store, first).facts["leaderboard"]
    # Of 360 test rows 288 and 360 are right, all 360 with probability 0.9: −ln 0.9.
    assert [row["test_accuracy"] for row in rows] == [0.8, 1.0]
    assert (rows[1]["test_loss"], rows[1]["test_macro_f1"]) == (pytest.approx(-log(0.9), abs=1e-6), 1.0)
    assert leaderboard_table(store, first)[0]["Test accuracy"] == "0.8000 (0.756 to 0.838)"
    assert again == first, "one report is one reading"
    assert [load(store, each).made_by["readings"] for each in (first, other)] == [1, 2]
    assert "2 reports have shown figures on test" in made.index(store, other)


def test_seeds_of_one_model_are_one_row_of_their_mean(store: LocalStore, prepared: Ref) -> None:
    # 90, 72 and 54 of 144, the first of them each: a mean of 0.5, a deviation of 0.125, over 3 a variance of 0.0052083.
    # Over images: 54 times 1, 18 times 2/3, 18 times 1/3, 54 times 0: (54 · 0.25 · 2 + 36 / 36) / 143 = 0.195804, over
    # 144 0.0013597. Freedom 0.006568² / (0.0013597² / 143 + 0.0052083² / 2) = 3.18, t = 3.084, half 0.2499.
    shares = {4: 0.625, 5: 0.5, 6: 0.375}
    refs = [made.evaluated(store, prepared, right=(1, share, 0.5), seed=seed) for seed, share in shares.items()]
    report = build_report(store, prepared, refs[::-1])
    (row,) = load(store, report).facts["leaderboard"]
    assert (row["model"], row["seeds"], row["seed"], row["validation_accuracy"]) == ("digits-cnn", [4, 5, 6], 4, 0.5)
    assert row["validation_accuracy_deviation"] == pytest.approx(0.125)
    assert row["validation_accuracy_low"] == pytest.approx(0.5 - 0.2499, abs=2e-4)
    assert leaderboard_table(store, report)[0]["Validation accuracy"] == "0.5000 (0.250 to 0.750; deviation 0.1250)"
    assert leaderboard_table(store, report)[0]["Training time"] == "3 min 45 s"
    assert best_model(store, report) == ("digits-cnn", load(store, refs[0]).inputs["model"]), "the best on validation"
    page = made.index(store, report)
    assert "All else in this section is of seed 4" in page
    assert "Training report" in page
    assert "seeds 4, 5, 6" in page
