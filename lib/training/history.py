"""The history of a training as its model keeps it. Who shows it needs no TensorFlow."""

from pathlib import Path

import pandas as pd

from lib.lineage.manifests import Manifest, read_file
from lib.store import Store

NUMBERS = ("loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate")


def read_history(store: Store, model: Manifest) -> pd.DataFrame:
    """A line an epoch. Raises PermanentError where the file is no history."""

    def read(path: Path) -> pd.DataFrame:
        history = pd.read_parquet(path)
        for name in ("epoch", "phase", *NUMBERS):
            fits = pd.api.types.is_float_dtype if name in NUMBERS else pd.api.types.is_integer_dtype
            if not fits(history[name]) or history[name].isna().any():
                raise ValueError(f"its column {name} holds no numbers of its kind")
        if history["epoch"].tolist() != list(range(1, len(history) + 1)) or history.empty:
            raise ValueError(f"its {len(history):,} lines are not of one epoch after another")
        return history

    return read_file(store, model, "history", read)
