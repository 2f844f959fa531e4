"""What a model of several backbones was made of is kept with it, and models from other weights are counted apart."""

from pathlib import Path

from lib.lineage.manifests import Ref
from lib.store import LocalStore

from .made import addresses, assert_whole, clean, output, prepared_data


def model(store: LocalStore, key: str, day: int, second: str) -> Ref:
    """Made of the backbones net and `second`."""
    prepared = prepared_data(store)
    inputs = {"prepared": prepared}
    for name, after in (("net", ""), (second, "-second")):
        weights = output(store, f"weights/{name}/w", "weights", {}, backbone=name)
        made_of = {"prepared": prepared, "weights": weights}
        features = output(store, f"features/toy/{name}-{key}", "features", made_of, dataset="toy")
        inputs |= {f"weights{after}": weights, f"features{after}": features}
    facts = {"dataset": "toy", "limit": None, "recipe": {"name": "cnn", "epochs": 20}}
    return output(store, f"models/toy/cnn/{key}", "model", inputs, day, **facts)


def test_the_newest_model_keeps_the_features_of_all_its_backbones(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for day, key in enumerate(("old", "new"), 1):
        model(store, key, day, "wide")
    clean(store, keep=1)
    assert addresses(store, "models") == ["toy/cnn/new"]
    assert addresses(store, "features") == ["toy/net-new", "toy/wide-new"]
    assert_whole(store)


def test_models_of_other_weights_of_any_backbone_are_counted_apart(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for day, (key, second) in enumerate((("a", "wide"), ("b", "wide"), ("c", "deep")), 1):
        model(store, key, day, second)
    clean(store, keep=1)
    assert addresses(store, "models") == ["toy/cnn/b", "toy/cnn/c"]
