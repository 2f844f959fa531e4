"""Which rows are train, validation and test."""

import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lib.data.datasets import DatasetSpec
from lib.errors import PermanentError
from lib.lineage.digests import digest_array
from lib.lineage.manifests import Manifest, read_file
from lib.lineage.steps import SPLITS
from lib.store import Store


@dataclass(frozen=True)
class Splits:
    """Row numbers into the dataset's own files, ascending: train and validation into `train`, test into `test`."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def content(self) -> dict[str, str]:
        """What a manifest says of them: sha256 over each split's row numbers as int32."""
        return {name: digest_array(getattr(self, name).astype("<i4")) for name in SPLITS}


def split_rows(
    spec: DatasetSpec, train_labels: np.ndarray, test_labels: np.ndarray, duplicates: dict[str, np.ndarray]
) -> Splits:
    """Take `spec.validation_rows` rows for validation: stratified ones, or the last, where it is given.

    Training rows that equal a test row are left out. Of drawn ones, rows that have an equal stay in train together, so
    that no image is on both sides; of given ones, training rows that equal one of validation are left out. Raises
    PermanentError where validation cannot be drawn, or a split is left without a row.
    """
    usable = np.setdiff1d(np.arange(len(train_labels)), duplicates["train_in_test"])
    if given := validation_given(spec, len(train_labels)):
        validation = usable[usable >= given.start]
        train = np.setdiff1d(usable[usable < given.start], duplicates["train_in_validation"])
        for name, rows, other in (("validation", validation, "test"), ("train", train, "validation or test")):
            if not len(rows):
                raise PermanentError(
                    f"{spec.name}: {name} must have an image that is in no other split; received only such as equal "
                    f"one of {other}, and these are left out; add other images"
                )
        return Splits(train, validation, np.arange(len(test_labels)))
    from sklearn.model_selection import train_test_split  # seconds to import: only where rows are split

    candidates = np.setdiff1d(usable, duplicates["train_grouped"])
    try:
        _, validation = train_test_split(
            candidates, test_size=spec.validation_rows, stratify=train_labels[candidates], random_state=spec.split_seed
        )
    except ValueError as error:
        raise PermanentError(
            f"{spec.name}: validation_rows must leave rows of each class in train and in validation; "
            f"received {spec.validation_rows} of {len(candidates)} rows: {error}"
        ) from error
    return Splits(np.setdiff1d(usable, validation), np.sort(validation), np.arange(len(test_labels)))


def validation_given(spec: DatasetSpec, train_rows: int) -> slice | None:
    """Which of the rows of train are validation; None where it is drawn."""
    return slice(train_rows - spec.validation_rows, train_rows) if spec.validation == "given" else None


def limited(splits: Splits, train_labels: np.ndarray, limit: int) -> Splits:
    """The first `limit` training rows in a class-balanced order. Validation and test stay whole: what is measured on
    them compares with other runs. Raises PermanentError where the limit is below one row of each class."""
    classes = len(np.unique(train_labels))
    if limit < classes:
        raise PermanentError(f"limit (--limit N) must be at least {classes}, one row of each class; received {limit}")
    return replace(splits, train=np.sort(limited_rows(train_labels, splits.train, limit)))


def limited_rows(labels: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """The first `count` of `rows` in an order that first gives one of each class, then keeps their shares.

    A smaller count is a beginning of a larger one.
    """
    frame = pd.DataFrame({"row": np.random.default_rng(0).permutation(rows)})
    frame["label"] = labels[frame["row"]]
    by_class = frame.groupby("label")["row"]
    rank = by_class.cumcount()
    frame["place"] = ((rank + 0.5) / by_class.transform("size")).where(rank > 0, 0)
    return frame.sort_values(["place", "label"], kind="stable")["row"].to_numpy()[:count]


def splits_parquet(splits: Splits) -> bytes:
    """Columns index and split, for `read_splits`."""
    frame = pd.concat(
        pd.DataFrame({"index": rows.astype(np.int32), "split": name})
        for name, rows in (("train", splits.train), ("validation", splits.validation), ("test", splits.test))
    )
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def read_splits(store: Store, prepared: Manifest) -> Splits:
    """The rows chosen by `prepare`. Raises PermanentError where the file is not as it left it."""

    def read(path: Path) -> Splits:
        # Of so small a table, pandas' own reader takes four times as long.
        with pq.ParquetFile(path, read_dictionary=["split"]) as file:
            table = file.read(["index", "split"], use_threads=False)
        index, split = table["index"].to_numpy(), table["split"]
        if not np.issubdtype(index.dtype, np.integer):
            raise ValueError(f"row numbers of type {index.dtype}")
        rows = {name: index[pc.equal(split, name).to_numpy()] for name in prepared.facts["rows"]}
        for name, count in prepared.facts["rows"].items():
            if len(rows[name]) != count or (rows[name][:1] < 0).any() or (rows[name][1:] <= rows[name][:-1]).any():
                raise ValueError(f"{len(rows[name]):,} rows of {name}, of which there are {count:,}, in order")
        return Splits(*(rows[name].astype(np.int64) for name in SPLITS))

    return read_file(store, prepared, "splits", read)
