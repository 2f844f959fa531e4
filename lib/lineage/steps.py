"""Where each step's output lies: a function of its inputs, so that finished work is found without being told.

Raise a step's version when the meaning of its code changes: its outputs, and all that follow from them, are then
made anew. A test holds a golden digest of each step.
"""

from typing import Any

from lib.data.datasets import DatasetSpec
from lib.lineage.manifests import Ref, digest_json
from lib.models.schema import Recipe

INGEST_VERSION = 2
PREPARE_VERSION = 1
WEIGHTS_VERSION = 2
FEATURES_VERSION = 1
TRAIN_VERSION = 3
EVALUATE_VERSION = 2
REPORT_VERSION = 1

KEY_LENGTH = 16


def dataset_address(spec: DatasetSpec) -> str:
    decoded = {"name", "format", "image_shape", "rows", "class_names", "superclass_names", "digests"}
    return f"datasets/{spec.name}/{_key(INGEST_VERSION, spec=spec.model_dump(mode='json', include=decoded))}"


def prepared_address(spec: DatasetSpec, dataset: Ref, limit: int | None) -> str:
    rules = spec.model_dump(mode="json", include={"validation_rows", "split_seed", "max_imbalance"})
    return f"prepared/{spec.name}/{_key(PREPARE_VERSION, dataset=dataset.model_dump(), rules=rules, limit=limit)}"


def weights_address(backbone: str, file: dict[str, Any]) -> str:
    """Where the weights of `backbone` lie that `file` tells from all others."""
    return f"weights/{backbone}/{_key(WEIGHTS_VERSION, backbone=backbone, file=file)}"


def features_address(dataset: str, recipe: Recipe, prepared: Ref, seed: int, weights: Ref | None) -> str:
    """Where the features of the recipe's frozen backbone lie; only a random start depends on the seed."""
    start = {"weights": weights.model_dump()} if weights else {"seed": seed}
    resolved = recipe.resolved()
    inputs = {"backbone": resolved["backbone"], "mirrored": recipe.augmentation.flip, "prepared": prepared.model_dump()}
    return f"features/{dataset}/{_key(FEATURES_VERSION, **inputs, **start)}"


def model_address(dataset: str, recipe: Recipe, prepared: Ref, seed: int, weights: Ref | None = None) -> str:
    inputs = {"recipe": recipe.resolved(), "prepared": prepared.model_dump(), "seed": seed}
    key = _key(TRAIN_VERSION, **inputs, weights=weights.model_dump() if weights else None)
    return f"models/{dataset}/{recipe.name}/{key}"


def checkpoints_address(output: str) -> str:
    """Working state of what is made for the address `output`, models/… or features/…."""
    return f"checkpoints/{output.removeprefix('models/')}"


def evaluation_address(dataset: str, recipe: str, model: Ref) -> str:
    return f"evaluations/{dataset}/{recipe}/{_key(EVALUATE_VERSION, model=model.model_dump())}"


def report_address(dataset: str, prepared: Ref, evaluations: list[Ref]) -> str:
    inputs = sorted((e.model_dump() for e in evaluations), key=lambda e: str(e["uri"]))
    return f"reports/{dataset}/{_key(REPORT_VERSION, prepared=prepared.model_dump(), evaluations=inputs)}"


def _key(version: int, **inputs: object) -> str:
    return digest_json({"version": version, **inputs})[:KEY_LENGTH]
