"""Features in a store, as arrays."""

import numpy as np

from lib.data.rows import open_rows
from lib.lineage.manifests import Manifest, load
from lib.store import Store


def features_of(store: Store, *features: Manifest, splits: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Split → those of all these backbones, side by side."""
    from lib.training.stored_features import open_features

    rows = open_rows(store, load(store, features[0].inputs["prepared"]), splits)
    return {split: values.all() for split, values in open_features(store, features, rows).items()}
