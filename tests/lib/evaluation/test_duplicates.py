"""The step `duplicates`: made once for prepared data, found again, verified by another search."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from lib.data.datasets import DATASETS
from lib.data.rows import open_rows
from lib.errors import PermanentError
from lib.evaluation.comparing import choose_features, comparisons, too_many
from lib.evaluation.duplicates import look_for_duplicates
from lib.evaluation.near_duplicates import Pair
from lib.evaluation.pair_table import encode_pairs, read_pairs
from lib.lineage.digests import digest_json
from lib.lineage.manifests import MANIFEST, Manifest, Ref, commit, load, put_file
from lib.lineage.steps import SPLITS
from lib.lineage.verify import verify
from lib.store import LocalStore
from tests.whole import whole_manifest

from .planted import LEAKED_FROM, LEAKED_TO, prepared_with_faults


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def prepared(store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ref:
    monkeypatch.setitem(DATASETS, "planted", DATASETS["digits"])  # so that it is taken away again
    return prepared_with_faults(store, tmp_path / "mirror")


def test_a_leaked_test_image_is_found_stored_and_verified_and_looked_for_once(store: LocalStore, prepared: Ref) -> None:
    told = list[tuple[int, int]]()
    made = look_for_duplicates(store, prepared, None, lambda *done: told.append(done))
    assert told[-1] == (1_040 * 1_041 // 2, 1_040 * 1_041 // 2)
    manifest = load(store, made)
    (table,) = (store.root / made.uri).glob("pairs-*.parquet")
    (row,) = pq.read_table(table).to_pylist()
    split = row["split"]
    assert split in {"train", "validation"}
    assert (row["index"], row["other_split"], row["other_index"]) == (LEAKED_FROM, "test", LEAKED_TO)
    assert open_rows(store, load(store, prepared), SPLITS)[split].index[row["row"]] == LEAKED_FROM
    assert row["correlation"] == pytest.approx(1, abs=0.005)
    assert manifest.facts["pairs"] == {
        "train-train": 0,
        "train-validation": 0,
        "train-test": int(split == "train"),
        "validation-validation": 0,
        "validation-test": int(split == "validation"),
        "test-test": 0,
    }
    assert (manifest.facts["features"], manifest.facts["compared"]) == (None, "all images with all")
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*")}
    assert look_for_duplicates(store, prepared, None) == made
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*")} == before
    held = list[str]()
    verify(store, made.uri, lambda address, manifest: held.append(manifest.kind))
    assert held == ["dataset", "prepared", "duplicates"]


def stored(store: LocalStore, made: Ref) -> Manifest:
    """What lies there now."""
    return Manifest.from_json(store.read(f"{made.uri}/{MANIFEST}"))


def forge(store: LocalStore, made: Ref, pairs: Sequence[Pair]) -> None:
    """Another list of pairs, with all that the output says of them."""
    manifest = stored(store, made)
    rows = open_rows(store, load(store, manifest.inputs["prepared"]), SPLITS)
    file = put_file(store, made.uri, "pairs.parquet", encode_pairs(pairs, rows))
    content = {"pairs": digest_json([list(pair) for pair in pairs])}
    forged = manifest.model_copy(update={"files": {"pairs": file}, "content": content})
    store.write(f"{made.uri}/{MANIFEST}", forged.to_json())


def test_a_hidden_a_made_up_and_a_changed_pair_are_noticed(store: LocalStore, prepared: Ref) -> None:
    made = look_for_duplicates(store, prepared, None)
    (pair,) = read_pairs(store, load(store, made))
    for pairs, said in (
        ([], "its pairs must be the 1 that its data give; received 1 others"),
        (
            [pair, Pair("train", 0, "test", 1, 0.3, 0.99)],
            "its pairs must be the 1 that its data give; received 1 others",
        ),
        ([pair, pair], "received twice the same pair"),
        ([pair._replace(similarity=0.5)], "the distance and correlation of .* must be those that its data give"),
    ):
        forge(store, made, pairs)
        with pytest.raises(PermanentError, match=said):
            verify(store, made.uri)
    forge(store, made, [Pair("test", 1, "train", 0, 0.3, 0.99)])
    with pytest.raises(PermanentError, match="row 1 of test before row 0 of train"):
        read_pairs(store, stored(store, made))


def test_features_of_mobilenet_come_first_and_those_of_other_data_or_random_weights_never(
    store: LocalStore, prepared: Ref
) -> None:
    assert choose_features(store, prepared) is None
    weights = Ref(uri="weights/x/0", sha256="0" * 64)

    def put(key: str, backbone: str, of: Ref = prepared, **more: Ref) -> Ref:
        address, facts = f"features/planted/{key}", {"backbone": {"name": backbone}}
        inputs: dict[str, Any] = {"prepared": of, **more}
        return commit(store, address, whole_manifest("features", address, inputs=inputs, facts=facts))

    put("a", "mobilenet")
    put("b", "mobilenet", weights, weights=weights)
    assert choose_features(store, prepared) is None
    lite = put("d", "efficientnet-lite0", weights=weights)
    assert choose_features(store, prepared) == lite
    put("c", "efficientnet-lite2", weights=weights)
    assert choose_features(store, prepared) == lite
    second = put("f", "mobilenet", weights=weights)
    assert choose_features(store, prepared) == second
    first = put("e", "mobilenet", weights=weights)
    assert choose_features(store, prepared) == first


def test_of_more_rows_only_held_out_ones_are_compared_with_all_and_of_too_many_none() -> None:
    assert comparisons({"train": 150_000, "validation": 25_000, "test": 25_000}) == 200_000**2 // 2
    assert comparisons({"train": 150_001, "validation": 25_000, "test": 25_000}) == 50_000 * 200_001
    assert not too_many({"train": 960_000, "validation": 10_000, "test": 10_000})
    assert "--duplicates" in too_many({"train": 1_000_000, "validation": 10_000, "test": 10_000})
