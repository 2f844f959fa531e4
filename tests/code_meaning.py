"""What the code of each step means: small results on fixed input, pinned in code_meaning.json.

`python -m tests.code_meaning` pins them anew. It refuses where a result has changed and its step's version has not been
raised: stored outputs would otherwise be taken for those of the changed code.
"""

import io
import json
import math
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from lib.lineage.digests import digest_array
from lib.lineage.steps import STEPS

PINNED = Path(__file__).with_suffix(".json")
TOLERANCE = 1e-4
"""Relative; floating-point sums differ in their last bits from one CPU to another."""

Meaning = Callable[[], Any]
MEANINGS: dict[tuple[str, str], Meaning] = {}


def of_step(kind: str) -> Callable[[Meaning], Meaning]:
    def note(meaning: Meaning) -> Meaning:
        MEANINGS[kind, meaning.__name__] = meaning
        return meaning

    return note


def changes() -> list[tuple[str, str, bool]]:
    """Step, what of it is not as it was pinned, and whether the step's version must be raised for it."""
    pinned = json.loads(PINNED.read_text()) if PINNED.exists() else {}
    found = []
    for (kind, name), meaning in MEANINGS.items():
        step = pinned.get(kind, {"version": None, "results": {}})
        raised, new = step["version"] != STEPS[kind].version, name not in step["results"]
        if raised or new or not alike(step["results"][name], meaning()):
            found.append((kind, name, not (raised or new)))
    return found


def alike(pinned: Any, result: Any) -> bool:
    """Whether two results are the same: numbers within TOLERANCE, and of a pinned table each entry it has."""
    if isinstance(pinned, dict) and isinstance(result, dict):
        return all(name in result and alike(value, result[name]) for name, value in pinned.items())
    if isinstance(pinned, list | tuple) and isinstance(result, list | tuple):
        return len(pinned) == len(result) and all(map(alike, pinned, result))
    if isinstance(pinned, float) and isinstance(result, float | int):
        return math.isclose(pinned, result, rel_tol=TOLERANCE, abs_tol=TOLERANCE / 10)
    return bool(pinned == result)


def images(rows: int, side: int = 8, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, side, side, channels), np.uint8)


def labels(rows: int) -> np.ndarray:
    return (np.arange(rows) % 3).astype(np.int16)


def moments(array: Any) -> list[float]:
    """Mean, deviation, first and last value: of what differs in its last bits from one CPU to another."""
    flat = np.asarray(array, np.float64).ravel()
    return [float(flat.mean()), float(flat.std()), float(flat[0]), float(flat[-1])]


@of_step("images")
def sides_of_images() -> Any:
    from lib.images.sides import side_of

    none, test = frozenset[str](), frozenset({"train", "test"})
    return [[side_of(str(number), None, none), side_of(str(number), "train", test)] for number in range(40)]


@of_step("images")
def digest_of_pixels() -> Any:
    from lib.images.decoding import decode, pixel_digest

    stream = io.BytesIO()
    Image.fromarray(images(1)[0]).save(stream, "png")
    return pixel_digest(decode(stream.getvalue(), None, None))


@of_step("dataset")
def squares_of_images() -> Any:
    from lib.images.decoding import decode

    stream = io.BytesIO()
    Image.fromarray(images(1, side=21)[0, :17]).save(stream, "png")
    return moments(decode(stream.getvalue(), 8, 3).pixels)


@of_step("dataset")
def parsed_digits() -> Any:
    from lib.data.datasets import DATASETS
    from lib.data.parsers import decode_digits

    return {split: data.digests().model_dump() for split, data in decode_digits(DATASETS["digits"], {}).items()}


@of_step("prepared")
def splits_and_limits() -> Any:
    from lib.data.datasets import DATASETS
    from lib.data.splits import limited, split_rows

    spec = DATASETS["digits"].model_copy(update={"validation_rows": 12})
    duplicates = {"train_in_test": np.array([4]), "train_grouped": np.array([4, 7, 11])}
    splits = split_rows(spec, labels(90), labels(30), duplicates)
    return [each.content() for each in (splits, limited(splits, labels(90), 9))]


@of_step("prepared")
def profile() -> Any:
    from lib.data.profile import channel_statistics, count_values, pixel_table

    colour, grey = (images(40, 3, channels)[::3] for channels in (3, 1))
    return channel_statistics(count_values([colour], (3, 3, 3))), pixel_table(count_values([grey], (3, 3, 1)))


@of_step("weights")
def accepted_layouts() -> Any:
    from lib.models.imagenet import IMAGENET_FILES

    return {name: [file.name for file in files] for name, files in IMAGENET_FILES.items()}


@of_step("features")
def pooled_maps_of_both_views() -> Any:
    from lib.models.networks import build_features
    from lib.models.schema import Augmentation, Backbone
    from lib.training.features import _views

    backbone = Backbone(name="mobilenet", image_px=32, frozen=True, weights="none", pooled=("conv_pw_1_relu",))
    recipe = toy(backbone=backbone, augmentation=Augmentation(flip=True), network="dense-1024")
    network = build_features(recipe, (8, 8, 3), seed=0)
    return moments(_views(images(4), True, lambda batch: network.predict(batch, verbose=0)))


@of_step("features")
def backbones_side_by_side() -> Any:
    from lib.models.networks import build_features
    from lib.models.schema import Augmentation, Backbone

    names = {"mobilenet": "conv_pw_1_relu", "efficientnet-lite0": "block2_add", "efficientnet-lite2": "block3_add"}
    first, *beside = (
        Backbone(name=name, image_px=32, frozen=True, weights="none", pooled=(layer,)) for name, layer in names.items()
    )
    recipe = toy(backbone=first, beside=tuple(beside), augmentation=Augmentation(), network="dense-1024")
    return moments(build_features(recipe, (8, 8, 3), seed=0).predict(images(4), verbose=0))


def toy(**fields: Any) -> Any:
    from lib.models.schema import Augmentation, Phase, Recipe

    given: dict[str, Any] = {
        "name": "toy",
        "datasets": (),
        "description": "",
        "network": "digits-cnn",
        "phases": (Phase(epochs=2, learning_rate=0.01, weight_decay=0.1),),
        "batch_size": 8,
        "augmentation": Augmentation(shift_px=2, flip=True, cutout_px=3),
    }
    return Recipe(**given | fields)


@of_step("model")
def defaults_of_recipes() -> Any:
    """A key holds only what differs from its default, so that another default is another meaning of the same key."""
    from lib.models.schema import Augmentation, Backbone, Phase, Recipe

    def of(model: Any) -> dict[str, Any]:
        fields = {name: field for name, field in model.model_fields.items() if not field.is_required()}
        return json.loads(model.model_construct().model_dump_json(include=set(fields)))  # type: ignore[no-any-return]

    return {model.__name__: of(model) for model in (Recipe, Phase, Augmentation, Backbone)}


@of_step("model")
def augmented_chunk() -> Any:
    from lib.training.batches import PaddedImages, TrainingImages

    rows = TrainingImages(PaddedImages.of(images(24), toy().augmentation), labels(24), 8, seed=3)
    return [digest_array(part) for part in rows.chunk(epoch=1, chunk=1, chunk_steps=2)]


@of_step("model")
def chunk_of_features() -> Any:
    from lib.training.batches import TrainingFeatures

    features = np.arange(96, dtype=np.float16).reshape(24, 2, 2)
    return [digest_array(part) for part in TrainingFeatures(features, labels(24), 8, seed=3).chunk(0, 0, 2)]


@of_step("model")
def first_weights_and_those_after_a_step() -> Any:
    from lib.models.networks import build
    from lib.models.schema import Phase
    from lib.training.batches import PaddedImages, TrainingImages
    from lib.training.devices import prepare_keras
    from lib.training.fit import Trainer

    # By SGD: of Adam's first step only the gradients' signs count, and those near 0 may differ from CPU to CPU.
    recipe = toy(phases=(Phase(epochs=2, learning_rate=0.01, optimizer="sgd"),))
    prepare_keras(recipe, allow_cpu=True)
    rows = TrainingImages(PaddedImages.of(images(8), recipe.augmentation), labels(8), 8, seed=3)
    network = build(recipe, (8, 8, 3), 3, seed=3)
    first = [moments(weight) for weight in network.get_weights()]
    trainer = Trainer(recipe, network, rows, (images(6), labels(6)), 3, lambda event: None, 30)
    trainer.start(None)
    trainer._chunk()
    return [first, [moments(weight) for weight in network.get_weights()]]


@of_step("model")
def learning_rates() -> Any:
    from lib.models.schema import Phase
    from lib.training.optimizers import _schedule

    phases = [
        Phase(epochs=2, learning_rate=0.5),
        Phase(epochs=2, learning_rate=0.5, schedule="warmup-cosine"),
        Phase(epochs=2, learning_rate=0.5, schedule="decay-per-epoch", decay_per_epoch=0.9),
    ]
    rates = [_schedule(phase, 10) for phase in phases]
    return [[float(rate(step)) if callable(rate) else rate for step in (0, 1, 2, 10, 19)] for rate in rates]


@of_step("model")
def losses() -> Any:
    from lib.training.optimizers import make_loss

    guesses = np.float32([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    return [
        np.asarray(make_loss(toy(label_smoothing=smoothing), 3)(labels(2), guesses)).tolist() for smoothing in (0, 0.1)
    ]


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


def main() -> None:
    if changed := [f"{kind}: {name}" for kind, name, must_raise in changes() if must_raise]:
        sys.exit(f"error: raise the version in lib/lineage/steps.py of what has changed: {', '.join(changed)}")
    pinned: dict[str, Any] = {kind: {"version": step.version, "results": {}} for kind, step in STEPS.items()}
    for (kind, name), meaning in MEANINGS.items():
        pinned[kind]["results"][name] = meaning()
    PINNED.write_text(json.dumps(pinned, indent=1) + "\n")


if __name__ == "__main__":
    main()
