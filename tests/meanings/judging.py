"""Of the steps that are made of models."""

import io
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tests.meanings.pinning import images, labels, moments, of_step


@of_step("evaluation")
def metrics() -> Any:
    from lib.evaluation.metrics import measure

    guesses = np.random.default_rng(0).random((12, 3)).astype(np.float32)
    return measure(guesses / guesses.sum(axis=1, keepdims=True), labels(12), ["a", "b", "c"]).model_dump()


@of_step("evaluation")
def features_that_a_head_is_given() -> Any:
    from lib.training.stored_features import predicting_features

    return predicting_features(np.float16([[[1, 2], [3, 5]]])).tolist()


@of_step("evaluation")
def images_that_were_held_out() -> Any:
    from lib.evaluation.calibration import fit_temperature
    from lib.evaluation.held_out import held_out
    from lib.evaluation.metrics import calibration_of, measure

    guesses = np.random.default_rng(0).random((60, 3)).astype(np.float32)
    guesses /= guesses.sum(axis=1, keepdims=True)
    metrics = measure(guesses, labels(60), ["a", "b", "c"])
    found = held_out(metrics, guesses, labels(60), fit_temperature(guesses, labels(60)))
    calibration = calibration_of(found).model_dump(exclude={"raw": {"points"}, "scaled": {"points"}})
    return {**found.model_dump(mode="json", include={"intervals"}), **calibration}


@of_step("evaluation")
def card_of_a_model() -> Any:
    from lib.evaluation.card import model_card
    from lib.store import LocalStore
    from tests.cards import TRAINED, metrics_of, stored_model

    names = [*"abcdef"]
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder))
        return sha256(model_card(store, stored_model(store, names), metrics_of(names), TRAINED)).hexdigest()


@of_step("robustness")
def corrupted_images() -> Any:
    from lib.evaluation.corruptions import CORRUPTIONS, corrupt
    from lib.evaluation.robustness import _sample

    stronger = {
        name: [moments(corrupt(images(4, 32, channels), name, 3, np.arange(4), 0)) for channels in (1, 3)]
        for name in CORRUPTIONS
    }
    return {**stronger, "rows": _sample(2_500)[[0, 1, -1]].tolist()}


@of_step("robustness")
def figures_of_corrupted_images() -> Any:
    from lib.evaluation.corrupted import VERSIONS, figures

    predicted = np.random.default_rng(0).integers(0, 3, (len(VERSIONS), 30))
    return {name: [each.model_dump() for each in line] for name, line in figures(predicted, labels(30)).items()}


@of_step("duplicates")
def pairs_by_pixels_and_by_features() -> Any:
    from lib.data.grouped import GroupedRows
    from lib.evaluation.near_duplicates import find_near_duplicates
    from lib.evaluation.pair_table import rounded

    def of(rows: np.ndarray) -> dict[str, Any]:
        parts = {"train": rows[:30], "test": rows[30:]}
        return {
            name: GroupedRows([len(part)], part.shape[1:], part.dtype.type, lambda _, part=part: part)
            for name, part in parts.items()
        }

    shown, features = images(40), np.random.default_rng(1).normal(size=(40, 1, 20)).astype(np.float16)
    shown[35], shown[7] = np.roll(shown[3], 1, axis=0), shown[9] // 2
    features[[35, 7]] = features[[3, 9]] + np.float16(0.1)
    found = find_near_duplicates(of(shown)), find_near_duplicates(of(shown), of(features), alone=1)
    return [[list(pair) for pair in rounded(pairs)] for pairs in found]


@of_step("reevaluation")
def classes_that_are_predicted() -> Any:
    """Its predictions are those of an evaluation: the table that they are read from."""
    from lib.data.rows import SplitRows
    from lib.evaluation.prediction_table import encode_predictions

    guesses = np.random.default_rng(0).random((12, 3)).astype(np.float32)
    rows = SplitRows(labels(12), np.arange(12))
    table = pq.read_table(io.BytesIO(encode_predictions({"validation": (rows, guesses)})))
    return table.select(["split", "index", "label", "predicted"]).to_pylist()


@of_step("decision")
def verdicts_and_their_reasons() -> Any:
    from lib.evaluation.intervals import Interval
    from lib.evaluation.paired import Discordant
    from lib.registry.gate import CalibrationError, HeldOut, Latency, Rules, decide, first_champion

    errors = [CalibrationError(error, Interval(error / 2, error * 1.5)) for error in (0.02, 0.1)]
    pairs = [Discordant(60, 20, 1000), Discordant(30, 20, 1000), Discordant(2, 1, 144), Discordant(10, 60, 1000)]
    classes = {"cat": Discordant(1, 40, 500), "dog": Discordant(90, 1, 500)}
    seen = [
        HeldOut(pairs[0], {"cat": pairs[0]}, errors[0], errors[0], Latency(0.01, 0.011, 1.1, 31, 32)),
        HeldOut(pairs[1], classes, errors[0], errors[1], Latency(0.01, 0.03, 3.0, 31, 32)),
    ]
    given = [(pairs[0], 1, seen[0]), (pairs[0], 3, seen[1]), *((pair, 2, seen[0]) for pair in pairs[1:])]
    found = [decide(pair, attempt, Rules(), lambda each=each: each, attempt) for pair, attempt, each in given]
    return [each._asdict() for each in [first_champion(), *found]]


@of_step("report")
def leaderboard() -> Any:
    from lib.evaluation.metrics import WITH_INTERVALS, SplitMetrics
    from lib.lineage.manifests import Manifest, Ref
    from lib.reporting.leaderboard import Entry, grouped, leaderboard_rows

    def entry(recipe: str, accuracy: float, seed: int) -> Entry:
        split = {"accuracy": accuracy, "loss": 1 - accuracy, "top5_accuracy": 1.0, "macro_f1": accuracy}
        facts = {"recipe": recipe, "seed": seed, "weights": None, "parameters": 9, "epochs": 2, "baseline": False}
        inputs = {"model": Ref(uri=f"models/toy/{recipe}/{seed}", sha256="0" * 64)}
        facts |= {"metrics": {"validation": split, "test": split}}
        evaluation = Manifest(kind="evaluation", inputs=inputs, facts=facts, content={}, files={}, made_by={})
        bounds = dict.fromkeys(WITH_INTERVALS, (accuracy / 2, accuracy))
        metrics = SplitMetrics(rows=40, per_class=[], confusion=[], intervals=bounds, **split)
        right = dict.fromkeys(("validation", "test"), np.arange(40) < 40 * accuracy)
        ref = Ref(uri=f"evaluations/toy/{recipe}/{seed}", sha256="0" * 64)
        return Entry(ref, evaluation, {"validation": metrics, "test": metrics}, right, settings=recipe)

    groups = grouped([entry("a", 0.5, 0), entry("b", 0.7, 0), entry("a", 0.6, 1)])
    return [leaderboard_rows(groups, show_test=show) for show in (False, True)]


@of_step("prediction")
def rows_and_drift_of_predictions() -> Any:
    from lib.prediction.drift import Reference, compare, figures
    from lib.prediction.inputs import InputRow
    from lib.prediction.table import Predicted, as_table, rows_of, schema, top_classes

    reference, found = figures(images(300)), figures(images(250) // 2)
    drift = compare(Reference(reference, np.array([9, 90]), 0.8, 0.7), found, np.array([200, 50]), 0.6, ["a", "b"])
    likeliest = top_classes(np.float32([[0.2, 0.8]]), np.float32([[0.3, 0.7]]), 1)
    rows = [InputRow("a.png", "0" * 64, None, 5, 4, "RGB"), InputRow("b.png", None, "it is empty")]
    table = as_table(rows, [Predicted(*likeliest, figures(images(1)))], ["a", "b"], schema(1, {}))
    return [drift.model_dump(), list(rows_of([table]))]
