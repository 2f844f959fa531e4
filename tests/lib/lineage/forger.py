"""Who forges one output of a toy store, and makes its names, file digests and checksum right again."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lib.lineage.digests import digest_json
from lib.lineage.manifests import MANIFEST, Manifest, local_file, put_file
from lib.store import LocalStore

KINDS = {
    "dataset": "datasets", "prepared": "prepared", "model": "models", "evaluation": "evaluations",
    "robustness": "robustness", "report": "reports",
}  # fmt: skip


def address_of(store: LocalStore, kind: str) -> str:
    (path,) = store.root.glob(f"{KINDS[kind]}/**/{MANIFEST}")
    return path.parent.relative_to(store.root).as_posix()


def read(store: LocalStore, kind: str) -> Manifest:
    return Manifest.from_json(store.read(f"{address_of(store, kind)}/{MANIFEST}"))


@dataclass
class Forger:
    """Changes one output of a store, and makes its names, file digests and checksum right again."""

    store: LocalStore
    kind: str

    @property
    def address(self) -> str:
        return address_of(self.store, self.kind)

    def manifest(self, **parts: Any) -> None:
        """Replace whole parts of the manifest."""
        forged = read(self.store, self.kind).model_copy(update=parts)
        self.store.write(f"{self.address}/{MANIFEST}", forged.to_json())

    def fact(self, path: str, value: Any) -> None:
        facts = read(self.store, self.kind).facts
        place = facts
        *parents, last = path.split(".")
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place[name]
        place[last] = value
        self.manifest(facts=facts)

    def content(self, **digests: str) -> None:
        self.manifest(content=read(self.store, self.kind).content | digests)

    def file(self, name: str, data: bytes, named: str) -> None:
        files = read(self.store, self.kind).files
        self.manifest(files=files | {name: put_file(self.store, self.address, named, data)})

    def stored(self, name: str) -> bytes:
        return self.store.read(read(self.store, self.kind).files[name].path)


Forge = Callable[[Forger], None]


def metrics_with(forger: Forger, split: str, **changes: Any) -> None:
    """In metrics.json, its content digest and the facts: all that one output says."""
    metrics = json.loads(forger.stored("metrics"))
    metrics[split] |= changes
    forger.file("metrics", json.dumps(metrics).encode(), "metrics.json")
    forger.content(metrics=digest_json(metrics))
    facts = read(forger.store, "evaluation").facts
    facts["metrics"][split] |= {name: value for name, value in changes.items() if name in facts["metrics"][split]}
    forger.manifest(facts=facts)


def keras_file(forger: Forger, change: Callable[[Any], Any]) -> bytes:
    """The stored model, changed, as a file."""
    import keras

    network = keras.saving.load_model(local_file(forger.store, read(forger.store, "model"), "model"), compile=False)
    path = forger.store.root / "changed.keras"
    change(network).save(path)
    data = path.read_bytes()
    path.unlink()
    return data


def another_function(network: Any) -> Any:
    network.get_layer("to_unit_range").scale = -5.0
    return network


def another_network(forger: Forger) -> None:
    forger.file("model", keras_file(forger, another_function), "model.keras")


def another_architecture(forger: Forger) -> None:
    from lib.training.task import digest_architecture

    another_network(forger)
    forger.content(architecture=digest_architecture(local_file(forger.store, read(forger.store, "model"), "model")))


def another_name(forger: Forger) -> None:
    def rename(network: Any) -> Any:
        network.name = "other"
        return network

    forger.file("model", keras_file(forger, rename), "model.keras")


def other_weights(forger: Forger) -> None:
    def change(network: Any) -> Any:
        network.set_weights([weight + 0.1 for weight in network.get_weights()])
        return network

    forger.file("model", keras_file(forger, change), "model.keras")


def hostile_class(forger: Forger) -> None:
    """A layer that is a function which starts a program."""
    source, target = io.BytesIO(forger.stored("model")), io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                hostile = {"module": "subprocess", "class_name": "Popen", "config": {"args": ["false"]}}
                config["config"]["layers"][-1] |= {**hostile, "registered_name": None}
                data = json.dumps(config).encode()
            new.writestr(name, data)
    forger.file("model", target.getvalue(), "model.keras")


def parquet(forger: Forger, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> bytes:
    buffer = io.BytesIO()
    change(pd.read_parquet(io.BytesIO(forger.stored(name)))).to_parquet(buffer, index=False)
    return buffer.getvalue()


def better_predictions(forger: Forger) -> None:
    """Sure and right throughout, with metrics that follow from it."""
    from lib.data.rows import read_rows
    from lib.evaluation.held_out import held_out
    from lib.evaluation.metrics import measure
    from lib.evaluation.prediction_table import encode_predictions
    from lib.lineage.digests import digest_array

    prepared = read(forger.store, "prepared")
    rows = read_rows(forger.store, prepared, ("validation", "test"))
    scored = {split: (part, np.eye(2, dtype=np.float32)[part.labels]) for split, part in rows.items()}
    forger.file("predictions", encode_predictions(scored), "predictions.parquet")
    forger.content(**{f"{split}-probabilities": digest_array(values) for split, (_, values) in scored.items()})
    for split, (part, values) in scored.items():
        measured = held_out(measure(values, part.labels, ["dim", "bright"]), values, part.labels, 1.0)
        metrics_with(forger, split, **measured.model_dump(mode="json"))
    forger.manifest(facts=read(forger.store, "evaluation").facts | {"temperature": 1.0})


def all_wrong(forger: Forger) -> None:
    """Of robustness: all predictions, with figures that follow from them."""
    from lib.evaluation.corrupted import encode_predicted, figures, read_predicted
    from lib.lineage.digests import digest_array

    stored = read_predicted(forger.store, read(forger.store, "robustness"))
    classes = np.broadcast_to(1 - stored.labels, stored.classes.shape)
    forger.file("predictions", encode_predicted(stored.rows, stored.labels, classes), "predictions.parquet")
    forger.content(predicted=digest_array(classes))
    found = figures(classes, stored.labels).items()
    forger.fact("figures", {name: [each.model_dump(mode="json") for each in line] for name, line in found})


def other_labels(forger: Forger) -> None:
    predictions = pq.read_table(io.BytesIO(forger.stored("predictions")))
    place = predictions.column_names.index("label")
    changed = pa.array(1 - predictions["label"].to_numpy())
    buffer = io.BytesIO()
    pq.write_table(predictions.set_column(place, "label", changed), buffer)
    forger.file("predictions", buffer.getvalue(), "predictions.parquet")


def moved_split(frame: pd.DataFrame) -> pd.DataFrame:
    """A training row goes to validation, which stays as long as it is."""
    train, validation = ((frame["split"] == name).idxmax() for name in ("train", "validation"))
    frame.loc[[train, validation], "split"] = ["validation", "train"]
    return frame.sort_values("index")


def profile_with(forger: Forger) -> None:
    profile = json.loads(forger.stored("profile"))
    profile["channels"]["mean"][0] += 1
    forger.file("profile", json.dumps(profile).encode(), "profile.json")
    forger.content(profile=digest_json(profile))


def shorter_history(forger: Forger) -> None:
    changed = parquet(forger, "history", lambda frame: frame[:-1])
    forger.file("history", changed, "history.parquet")
    forger.content(history=digest_json(pd.read_parquet(io.BytesIO(changed)).to_dict("records")))


def first_of_leaderboard(forger: Forger) -> None:
    """In the facts and their digest."""
    facts = read(forger.store, "report").facts
    facts["leaderboard"][0]["validation_accuracy"] = 0.987
    forger.manifest(facts=facts)
    forger.content(leaderboard=digest_json(facts["leaderboard"]))


def another_page(forger: Forger) -> None:
    forger.file("index", forger.stored("index").replace(b"toy-softmax", b"other"), "index.html")


def another_card(forger: Forger) -> None:
    forger.file("card", forger.stored("card").replace(b"uint8)", b"int8)"), "README.md")


def another_maker(forger: Forger) -> None:
    """Outside of every digest; but the page says who made each model."""
    made = read(forger.store, "model").made_by
    Forger(forger.store, "model").manifest(made_by=made | {"seconds": 9999.0})


def without_raw_labels(forger: Forger) -> None:
    files = read(forger.store, "dataset").files
    forger.manifest(files={name: file for name, file in files.items() if "labels" not in name})


def of_a_dataset(forger: Forger) -> None:
    forger.manifest(inputs={"prepared": read(forger.store, "prepared").inputs["dataset"]})


def twice(forger: Forger) -> None:
    inputs = read(forger.store, "report").inputs
    (evaluation,) = (ref for name, ref in inputs.items() if name.startswith("evaluation-"))
    forger.manifest(inputs=inputs | {"evaluation-b": evaluation})


def png(level: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (2, 2), (level, level, level)).save(buffer, "png")
    return buffer.getvalue()


def moved(forger: Forger) -> None:
    """All of it lies at another address, which names another key."""
    old = forger.address
    new = f"{old.rpartition('/')[0]}/{'0' * 16}"
    files = {
        name: file.model_copy(update={"path": file.path.replace(old, new)})
        for name, file in read(forger.store, forger.kind).files.items()
    }
    forger.manifest(files=files)
    shutil.move(forger.store.root / old, forger.store.root / new)


def of_another_model(forger: Forger) -> None:
    """Made of another model, which is an honest one."""
    model = forger.store.root / "other/model"
    other = Manifest.from_json((model / MANIFEST).read_bytes())
    place = other.files["model"].path.rpartition("/")[0]
    shutil.copytree(model, forger.store.root / place)
    forger.manifest(inputs=read(forger.store, "evaluation").inputs | {"model": other.ref(place)})
