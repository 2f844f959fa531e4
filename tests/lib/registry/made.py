"""Evaluations of models that exist in name alone: which images each has right is chosen."""

from collections.abc import Sequence

import numpy as np

from lib.data.rows import SplitRows
from lib.evaluation.prediction_table import encode_predictions
from lib.lineage.manifests import Ref, commit, put_file
from lib.lineage.steps import STEPS
from lib.registry.history import Evaluated
from lib.store import Store
from tests.whole import whole_manifest

ROWS = 1_000
"""Of validation, and of test."""


def prepared_data(
    store: Store, key: str = "p", classes: tuple[str, ...] = ("no", "yes"), limit: int | None = None
) -> Ref:
    address = f"prepared/toy/{key}"
    dataset = commit(store, "datasets/toy/d", whole_manifest("dataset", "datasets/toy/d", facts={"dataset": "toy"}))
    facts = {
        "dataset": "toy",
        "limit": limit,
        "rows": {"train": 0, "validation": ROWS, "test": ROWS},
        "class_names": [*classes],
        "image_shape": [2, 2, 1],
    }
    return commit(store, address, whole_manifest("prepared", address, inputs={"dataset": dataset}, facts=facts))


def model(
    store: Store,
    key: str,
    wrong: Sequence[int],
    data: Ref | None = None,
    limit: int | None = None,
    sure: float | None = None,
) -> Evaluated:
    """One that mistakes the images `wrong` of validation and of test; as `sure` of each as it may be, if not said."""
    sure = sure or 1 - len(wrong) / ROWS
    data, address = data or prepared_data(store, limit=limit), f"models/toy/net/{key}"
    facts = {"dataset": "toy", "recipe": {"name": "net"}, "seed": 0, "limit": limit}
    made = commit(store, address, whole_manifest("model", address, inputs={"prepared": data}, facts=facts))
    labels = np.arange(ROWS) % 2
    predicted = labels.copy()
    predicted[[*wrong]] ^= 1
    probabilities = np.where(np.arange(2) == predicted[:, np.newaxis], sure, 1 - sure).astype(np.float32)
    rows = SplitRows(labels, np.arange(ROWS))
    address = STEPS["evaluation"].address(dataset_name="toy", recipe_name="net", model=made)
    table = encode_predictions(dict.fromkeys(("validation", "test"), (rows, probabilities)))
    manifest = whole_manifest(
        "evaluation",
        address,
        inputs={"model": made, "prepared": data},
        facts={**facts, "recipe": "net", "temperature": 1.0},
        files={"predictions": put_file(store, address, "predictions.parquet", table)},
    )
    return Evaluated(model=made, evaluation=commit(store, address, manifest))
