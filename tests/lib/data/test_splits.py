"""Which rows are train, validation and test."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from lib.data.datasets import DatasetSpec, SplitDigests
from lib.data.splits import Splits, limited, limited_rows, read_splits, split_rows, splits_parquet
from lib.errors import PermanentError
from lib.lineage.manifests import Manifest, put_file
from lib.store import LocalStore

SPEC = DatasetSpec(
    name="toy",
    title="Toy",
    format="toy",
    image_shape=(2, 2, 1),
    rows={"train": 100, "test": 50},
    class_names=("a", "b", "c"),
    digests={"train": SplitDigests(images="", labels=""), "test": SplitDigests(images="", labels="")},
    validation_rows=10,
    max_imbalance=6.0,
    source="",
    licence="",
    citation="",
)
TRAIN_LABELS = np.random.default_rng(1).permutation([0] * 60 + [1] * 30 + [2] * 10)
TEST_LABELS = np.random.default_rng(2).permutation([0] * 30 + [1] * 15 + [2] * 5)
NONE = np.array([], int)
NO_DUPLICATES = {"train_in_test": NONE, "train_repeated": NONE, "train_grouped": NONE, "conflicting_groups": NONE}
WHOLE = split_rows(SPEC, TRAIN_LABELS, TEST_LABELS, NO_DUPLICATES)


def counts(labels: np.ndarray, rows: np.ndarray) -> list[int]:
    return np.bincount(labels[rows], minlength=3).tolist()


def test_validation_has_the_classes_in_the_shares_of_train() -> None:
    assert counts(TRAIN_LABELS, WHOLE.validation) == [6, 3, 1]
    assert counts(TRAIN_LABELS, WHOLE.train) == [54, 27, 9]
    assert WHOLE.test.tolist() == list(range(50))


def test_each_row_is_on_one_side_and_rows_ascend() -> None:
    assert sorted([*WHOLE.train, *WHOLE.validation]) == list(range(100))
    assert WHOLE.train.tolist() == sorted(WHOLE.train)
    assert WHOLE.validation.tolist() == sorted(WHOLE.validation)


def test_the_split_depends_on_the_specs_seed_alone() -> None:
    again = split_rows(SPEC, TRAIN_LABELS, TEST_LABELS, NO_DUPLICATES)
    other = split_rows(SPEC.model_copy(update={"split_seed": 1}), TRAIN_LABELS, TEST_LABELS, NO_DUPLICATES)
    assert again.validation.tolist() == WHOLE.validation.tolist()
    assert other.validation.tolist() != WHOLE.validation.tolist()


def test_rows_that_equal_a_test_row_are_in_neither_and_equal_rows_stay_in_train() -> None:
    in_test, grouped = WHOLE.validation[:4], WHOLE.validation[4:8]
    duplicates = {**NO_DUPLICATES, "train_in_test": in_test, "train_grouped": grouped}
    splits = split_rows(SPEC, TRAIN_LABELS, TEST_LABELS, duplicates)
    assert (len(splits.train), len(splits.validation)) == (86, 10)
    assert not set(in_test) & {*splits.train, *splits.validation}
    assert set(grouped) <= set(splits.train)


def test_a_validation_split_that_cannot_be_drawn_is_refused_with_the_rule() -> None:
    with pytest.raises(PermanentError, match=r"^toy: validation_rows must .*; received 2") as caught:
        split_rows(SPEC.model_copy(update={"validation_rows": 2}), TRAIN_LABELS, TEST_LABELS, NO_DUPLICATES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("limit", [3, 4, 30, 89, 90])
def test_a_limit_takes_training_rows_alone(limit: int) -> None:
    splits = limited(WHOLE, TRAIN_LABELS, limit)
    assert len(splits.train) == limit
    assert splits.validation is WHOLE.validation
    assert splits.test is WHOLE.test


def test_a_limit_keeps_the_classes_shares() -> None:
    splits = limited(WHOLE, TRAIN_LABELS, 30)  # a third
    assert counts(TRAIN_LABELS, splits.train) == [18, 9, 3]
    assert splits.train.tolist() == sorted(splits.train)
    assert counts(TRAIN_LABELS, limited(WHOLE, TRAIN_LABELS, 3).train) == [1, 1, 1]


def test_each_limit_is_within_the_next() -> None:
    smaller = limited(WHOLE, TRAIN_LABELS, 3)
    for limit in (4, 5, 9, 10, 11, 29, 44, 60, 89, 90):
        larger = limited(WHOLE, TRAIN_LABELS, limit)
        assert set(smaller.train) <= set(larger.train) <= set(WHOLE.train), limit
        smaller = larger


def test_a_limit_below_the_classes_is_refused() -> None:
    with pytest.raises(
        PermanentError, match=r"^limit \(--limit N\) must be at least 3, one row of each class; received 2$"
    ):
        limited(WHOLE, TRAIN_LABELS, 2)


def test_the_order_gives_one_of_each_class_then_their_shares() -> None:
    labels = np.array([0] * 6 + [1] * 3)
    order = limited_rows(labels, np.arange(9), 9)
    # Places: class 0 at 0, 3/12, 5/12, 7/12, 9/12, 11/12; class 1 at 0, 3/6, 5/6.
    assert labels[order].tolist() == [0, 1, 0, 0, 1, 0, 0, 1, 0]
    assert sorted(order) == list(range(9))
    assert limited_rows(labels, np.arange(9), 4).tolist() == order[:4].tolist()


def test_splits_come_back_from_the_store(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    splits = Splits(np.array([1, 4, 70_000]), np.array([2]), np.array([0, 1, 2]))
    data = splits_parquet(splits)
    file = put_file(store, "prepared/toy/1", "splits.parquet", data)
    assert file.sha256 == hashlib.sha256(data).hexdigest()
    facts = {"rows": {"train": 3, "validation": 1, "test": 3}}
    manifest = Manifest(kind="prepared", inputs={}, facts=facts, content={}, files={"splits": file}, made_by={})
    found = read_splits(store, manifest)
    assert found.train.tolist() == [1, 4, 70_000]
    assert found.validation.tolist() == [2]
    assert found.test.tolist() == [0, 1, 2]
