"""What is predicted, by which model, where it lies, and what follows from its rows. Needs no TensorFlow."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lib.errors import PermanentError
from lib.images.unlabelled import Unlabelled
from lib.lineage.digests import digest_long_json
from lib.lineage.manifests import Manifest, Ref, StoredFile, load, read_file
from lib.lineage.steps import STEPS
from lib.lineage.verify import Recomputed, check_address
from lib.prediction.drift import FIGURES, Drift, compare
from lib.prediction.inputs import InputSource, open_input
from lib.prediction.reference import read_reference, sample
from lib.prediction.table import PREDICTED, rows_of, schema
from lib.settings import Settings
from lib.store import Store

Tables = Callable[[], Iterator[pa.Table]]
"""The parts of a prediction, one after the other, as often as they are needed."""


@dataclass(frozen=True)
class Predictor:
    """A model with what it was evaluated on."""

    evaluation: Ref
    evaluated: Manifest
    model: Manifest
    prepared: Manifest

    @classmethod
    def of(cls, store: Store, evaluation: Ref) -> "Predictor":
        """The model of `evaluation`. Raises PermanentError where its images are not square: none are made so."""
        evaluated = load(store, evaluation)
        of_model, of_data = (load(store, evaluated.inputs[kind]) for kind in ("model", "prepared"))
        height, width, channels = of_data.facts["image_shape"]
        if height != width or channels not in {1, 3}:
            raise PermanentError(
                f"a model predicts files where it takes square images of 1 or 3 channels; {evaluated.facts['recipe']} "
                f"on {evaluated.facts['dataset']} takes {height} × {width} × {channels}"
            )
        return cls(evaluation, evaluated, of_model, of_data)

    @property
    def class_names(self) -> list[str]:
        names: list[str] = self.prepared.facts["class_names"]
        return names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        height, width, channels = self.prepared.facts["image_shape"]
        return height, width, channels

    @property
    def temperature(self) -> float:
        return float(self.evaluated.facts["temperature"])

    @property
    def inputs(self) -> dict[str, Ref]:
        """Of a prediction's manifest."""
        return {"evaluation": self.evaluation, **{each: self.evaluated.inputs[each] for each in ("model", "prepared")}}

    def top_of(self, top: int) -> int:
        """So many of the likeliest classes at most: no more than there are."""
        return min(top, len(self.class_names))

    def address(self, listing: str, top: int) -> str:
        return STEPS["prediction"].address(
            dataset_name=self.evaluated.facts["dataset"], evaluation=self.evaluation, listing=listing, top=top
        )

    def says(self) -> dict[str, Any]:
        """What a table of predictions says of who made them."""
        return {
            "dataset": self.evaluated.facts["dataset"],
            "recipe": self.evaluated.facts["recipe"],
            "temperature": self.temperature,
            **{name: ref.model_dump() for name, ref in self.inputs.items()},
        }

    def facts(self, store: Store, tables: Tables) -> dict[str, Any]:
        """What follows from the rows of `tables`."""
        drift = drift_of(store, self, tables)
        images = sum(table.num_rows for table in tables())
        return {
            "dataset": self.evaluated.facts["dataset"],
            "recipe": self.evaluated.facts["recipe"],
            "images": images,
            "unreadable": images - drift.images,
            "drift": drift.model_dump(mode="json"),
        }


@dataclass(frozen=True)
class Asked:
    """Images that a model is to predict."""

    predictor: Predictor
    images: Unlabelled
    top: int

    @classmethod
    def of(cls, store: Store, evaluation: Ref, source: InputSource, top: int, settings: Settings) -> "Asked":
        """Raises PermanentError where there are no images."""
        predictor = Predictor.of(store, evaluation)
        return cls(predictor, open_input(source, settings.cache_dir), predictor.top_of(top))

    @property
    def address(self) -> str:
        return self.predictor.address(self.images.listing, self.top)

    def facts(self, store: Store, tables: Tables) -> dict[str, Any]:
        """Of the prediction's manifest."""
        stated = {"source": self.images.uri, "listing": self.images.listing, "top": self.top}
        return {**self.predictor.facts(store, tables), **stated}


def tables_of(store: Store, files: Iterable[StoredFile]) -> Tables:
    """The parts that are stored as `files`."""
    kept = list(files)

    def tables() -> Iterator[pa.Table]:
        for file in kept:
            yield pq.read_table(store.local_path(file.path, file.sha256, file.size_bytes))

    return tables


def stored_tables(store: Store, prediction: Manifest) -> Tables:
    """The parts of a prediction. Raises PermanentError where one has other columns than they have."""
    must = schema(prediction.facts["top"], {})

    def read(path: Path) -> pa.Table:
        table = pq.read_table(path)
        if not table.schema.equals(must):
            raise ValueError(f"the columns {', '.join(table.column_names)}")
        return table

    return lambda: (read_file(store, prediction, name, read) for name in sorted(prediction.files))


def drift_of(store: Store, predictor: Predictor, tables: Tables) -> Drift:
    """How far the images of `tables` are from those of validation: figures of a sample, all else of all."""
    names = pa.array(predictor.class_names, pa.string())
    predicted, confidence = np.zeros(len(names), np.int64), 0.0
    for table in map(_readable, tables()):
        labels = pc.index_in(table["predicted"], value_set=names).to_numpy()
        predicted += np.bincount(labels, minlength=len(names))
        confidence += float(table["confidence"].to_numpy().sum(dtype=np.float64))
    rows, first, chosen = int(predicted.sum()), 0, list[np.ndarray]()
    wanted = sample(rows)
    for table in map(_readable, tables()):
        here = wanted[(wanted >= first) & (wanted < first + table.num_rows)] - first
        chosen.append(np.stack([table[name].to_numpy()[here] for name in FIGURES], axis=1))
        first += table.num_rows
    found = np.concatenate(chosen) if chosen else np.empty((0, len(FIGURES)), np.float32)
    mean = confidence / rows if rows else 0.0
    return compare(read_reference(store, predictor.evaluated), found, predicted, mean, predictor.class_names)


def _readable(table: pa.Table) -> pa.Table:
    return table.filter(pc.equal(table["status"], PREDICTED))


def recompute(store: Store, address: str, manifest: Manifest) -> Recomputed:
    """For verify: what follows from the rows. The images lie outside the store and cannot be predicted again."""
    predictor = Predictor.of(store, manifest.inputs["evaluation"])
    stated = {name: manifest.facts[name] for name in ("source", "listing", "top")}
    check_address(
        "prediction",
        address,
        dataset_name=predictor.evaluated.facts["dataset"],
        evaluation=predictor.evaluation,
        listing=stated["listing"],
        top=stated["top"],
    )
    tables = stored_tables(store, manifest)
    return Recomputed(
        inputs=frozenset(predictor.inputs),
        facts={**predictor.facts(store, tables), **stated},
        content={"rows": digest_long_json({"rows": rows_of(tables())})},
        files={name: f"{name}.parquet" for name in manifest.files},
        note=f"{address}: its images lie outside the store, so they were not predicted again",
    )
