"""Small honest outputs to report on: real digits, and models whose every number can be worked out by hand."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from lib.data.datasets import DATASETS, DatasetSpec, SplitDigests
from lib.data.ingest import ingest
from lib.data.parsers import SourceSplit
from lib.data.prepare import prepare
from lib.data.rows import Rows, read_rows
from lib.evaluation.card import model_card
from lib.evaluation.held_out import held_out
from lib.evaluation.metrics import SplitMetrics, measure
from lib.evaluation.prediction_table import encode_predictions
from lib.lineage.digests import digest_json
from lib.lineage.manifests import Manifest, Ref, commit, load, local_file, put_file
from lib.lineage.provenance import made_by
from lib.lineage.steps import SPLITS, STEPS
from lib.models.recipes import RECIPES
from lib.models.schema import Recipe, model_address
from lib.reporting.pictures import names_of_pictures
from lib.reporting.sections import Art
from lib.reporting.tiles import Caption, sheet
from lib.store import Store

PNG = b"\x89PNG\r\n\x1a\n"
"""What a picture is where drawing it would only take time."""
TEMPERATURE = 1.25
SURE = 0.9
"""What a model here gives to the class that it predicts; the others share the rest."""


def undrawn(store: Store, prepared: Manifest, evaluations: Mapping[str, Manifest], leaderboard: object) -> Art:
    """In place of `lib.reporting.pictures.draw`: sheets of one image, and PNG for all that matplotlib draws."""
    names = names_of_pictures(evaluations)
    sheets = {name: name == "samples" or name.endswith(("-examples", "-mistakes")) for name in names}
    image, label = np.zeros((1, 8, 8, 1), np.uint8), prepared.facts["class_names"][0]
    captions = {name: [Caption(label, None if name == "samples" else label)] for name in names if sheets[name]}
    return Art({name: sheet(image) if sheets[name] else PNG for name in names}, captions)


def prepared_digits(store: Store, limit: int | None = None) -> Ref:
    spec: DatasetSpec = DATASETS["digits"]
    return prepare(spec, store, ingest(spec, store, None, lambda *_: None), limit)


def prepared_hundred(store: Store, folder: Path) -> Ref:
    """100 classes in 20 superclasses, named as CIFAR-100's, of noise, which is what pictures hold worst."""
    random, known = np.random.default_rng(0), DATASETS["cifar100"]
    rows, images = {"train": 2_000, "test": 1_000}, io.BytesIO()
    names = {"fine_label_names.txt": known.class_names, "coarse_label_names.txt": known.superclass_names}
    members = {name: "\n".join(lines).encode() for name, lines in names.items()}
    digests = {}
    for split, count in rows.items():
        pixels = random.integers(0, 256, (count, 32, 32, 3), np.uint8)
        labels = np.arange(count, dtype=np.int32) % 100
        digests[split] = SplitDigests.model_validate(SourceSplit(pixels, labels, labels // 5).digests())
        lines = [labels[:, np.newaxis] // 5, labels[:, np.newaxis], pixels.transpose(0, 3, 1, 2).reshape(count, -1)]
        members[f"{split}.bin"] = np.concatenate(lines, axis=1).astype(np.uint8).tobytes()
    with tarfile.open(fileobj=images, mode="w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    (file,) = (each.model_copy(update={"md5": None}) for each in known.files)
    (folder / file.url.rpartition("/")[2]).write_bytes(images.getvalue())
    changed = {"rows": rows, "digests": digests, "files": (file,), "validation_rows": 1_000}
    spec = known.model_copy(update=changed)
    return prepare(spec, store, ingest(spec, store, folder.as_uri(), lambda *_: None), None)


def index(store: Store, report: Ref) -> str:
    """The page of `report`."""
    return local_file(store, load(store, report), "index").read_text()


def evaluated(
    store: Store,
    prepared: Ref,
    recipe: str = "digits-cnn",
    right: tuple[float, float, float] = (1.0, 0.9, 0.8),
    seed: int = 0,
    seconds: float = 75.0,
    weights: str | None = None,
    collapsed: int | None = None,
    scattered: bool = False,
    guesses: Mapping[str, np.ndarray] | None = None,
    **changes: object,
) -> Ref:
    """A model that is right on those shares of train, validation and test, from the first row on, and its evaluation.

    Where it is wrong it predicts the next class; of the class `collapsed` it has no image right. With
    `scattered` its mistakes are any classes, by chance. `guesses`, by split, take the place of this; `changes` go to
    the recipe.
    """
    data = load(store, prepared)
    names = data.facts["class_names"]
    resolved = RECIPES[recipe].model_copy(update=changes)
    history = pd.DataFrame(
        {"epoch": [1, 2], "phase": [1, 1], "loss": [0.9, 0.5], "accuracy": [0.7, 0.8], "validation_loss": [0.8, 0.6],
         "validation_accuracy": [0.75, 0.78], "learning_rate": [0.003, 0.001]}
    )  # fmt: skip
    model = _model(store, prepared, resolved, history, seed, seconds, weights)
    rows = read_rows(store, data, SPLITS)
    guesses = guesses or {
        split: _guess(each, share, len(names), collapsed, scattered)
        for (split, each), share in zip(rows.items(), right, strict=True)
    }
    metrics = {split: measure(guesses[split], each.labels, names) for split, each in rows.items()}
    for split in ("validation", "test"):
        metrics[split] = held_out(metrics[split], guesses[split], rows[split].labels, TEMPERATURE)
    predictions = encode_predictions({split: (rows[split], guesses[split]) for split in ("validation", "test")})
    return _evaluation(store, model, metrics, predictions)


def _guess(rows: Rows, share: float, classes: int, collapsed: int | None, scattered: bool) -> np.ndarray:
    wrong = (np.arange(len(rows.labels)) >= round(share * len(rows.labels))) | (rows.labels == collapsed)
    random = np.random.default_rng(len(rows.labels))
    by = random.integers(1, classes, len(rows.labels)) if scattered else 1
    chosen = (rows.labels + wrong * by) % classes
    probabilities = np.full((len(chosen), classes), (1 - SURE) / (classes - 1), np.float32)
    probabilities[np.arange(len(chosen)), chosen] = SURE
    return probabilities


def _model(
    store: Store, prepared: Ref, recipe: Recipe, history: pd.DataFrame, seed: int, seconds: float, weights: str | None
) -> Ref:
    data = load(store, prepared).facts
    start = Ref(uri=f"weights/{weights}", sha256="0" * 64) if weights else None
    starts = {each.name: start for each in recipe.backbones if start}
    address = model_address(data["dataset"], recipe, prepared, seed, starts)
    table = io.BytesIO()
    history.to_parquet(table, index=False)
    facts = {
        "dataset": data["dataset"],
        "recipe": recipe.resolved(),
        "description": recipe.description,
        "baseline": recipe.baseline,
        "seed": seed,
        "limit": data["limit"],
        "weights": weights,
        "parameters": 50_138,
        "trainable_parameters": 49_946,
        "epochs": 2,
        "kept_epoch": 2,
        "layers": [{"layer": "conv2d", "type": "Conv2D", "output_shape": "(16, 16, 16)", "parameters": 144}],
    }
    manifest = Manifest(
        kind="model",
        inputs={"prepared": prepared},
        facts=facts,
        content={"weights": digest_json(address)},
        files={
            "model": put_file(store, address, "model.keras", b"weights"),
            "history": put_file(store, address, "history.parquet", table.getvalue()),
        },
        made_by=made_by(seconds, machine={}, resumed_on=[{"cpu": "another", "gpus": 0}]),
    )
    return commit(store, address, manifest)


def _evaluation(store: Store, model: Ref, metrics: dict[str, SplitMetrics], predictions: bytes) -> Ref:
    made = load(store, model)
    dataset, recipe = made.facts["dataset"], made.facts["recipe"]["name"]
    address = STEPS["evaluation"].address(dataset_name=dataset, recipe_name=recipe, model=model)
    left_out = {"recipe", "layers"}
    written = {split: values.model_dump(mode="json") for split, values in metrics.items()}
    left_out_of_facts = {"per_class", "confusion", "calibration"}
    summary = {split: values.model_dump(mode="json", exclude=left_out_of_facts) for split, values in metrics.items()}
    files = {
        "metrics": put_file(store, address, "metrics.json", json.dumps(written).encode()),
        "predictions": put_file(store, address, "predictions.parquet", predictions),
        "card": put_file(store, address, "README.md", model_card(store, model, metrics, made.made_by)),
    }
    manifest = Manifest(
        kind="evaluation",
        inputs={"model": model, "prepared": made.inputs["prepared"]},
        facts={k: v for k, v in made.facts.items() if k not in left_out}
        | {"recipe": recipe, "temperature": TEMPERATURE, "metrics": summary},
        content={"metrics": digest_json(written)},
        files=files,
        made_by=made_by(1.5),
    )
    return commit(store, address, manifest)
