"""One forged value of each kind is named, though file digests, names and the manifest's checksum are right again."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.data.datasets import DATASETS
from lib.data.ingest import ingest
from lib.data.prepare import prepare
from lib.errors import PermanentError
from lib.lineage.digests import digest_json
from lib.lineage.manifests import MANIFEST, Manifest, local_file, put_file
from lib.lineage.steps import STEPS
from lib.lineage.verify import check_output, verify
from lib.models.recipes import RECIPES
from lib.reporting.report import build_report
from lib.settings import Settings
from lib.store import LocalStore
from tests.lib.reporting import made
from tests.toy import RECIPE, SPEC, mirror

KINDS = {
    "dataset": "datasets", "prepared": "prepared", "model": "models", "evaluation": "evaluations", "report": "reports",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def toys() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, SPEC.name, SPEC)
        patch.setitem(RECIPES, RECIPE.name, RECIPE)
        patch.setattr("lib.reporting.pictures.draw", lambda *given: dict.fromkeys(made.undrawn(*given), png(10)))
        yield


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, toys: None) -> LocalStore:
    """A finished run of the toy recipe, with a real model; and a second model, as an honest source of other values."""
    from lib.evaluation.predictions import evaluate
    from lib.training.fit import train
    from lib.training.task import TrainingTask

    folder = tmp_path_factory.mktemp("honest")
    store = LocalStore(folder / "store")
    prepared = prepare(SPEC, store, ingest(SPEC, store, mirror(folder / "mirror", 1), lambda *_: None), None)
    trained = [
        train(store, Settings(), lambda event: None, TrainingTask(recipe=RECIPE, prepared=prepared, seed=seed))
        for seed in (0, 1)
    ]
    build_report(store, prepared, [evaluate(store, lambda event: None, trained[0])])
    (store.root / "other").mkdir()
    shutil.move(store.root / trained[1].uri, store.root / "other" / "model")
    return store


@pytest.fixture
def store(honest: LocalStore, tmp_path: Path) -> LocalStore:
    shutil.copytree(honest.root, tmp_path / "store")
    return LocalStore(tmp_path / "store")


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


def parquet(forger: Forger, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> bytes:
    buffer = io.BytesIO()
    change(pd.read_parquet(io.BytesIO(forger.stored(name)))).to_parquet(buffer, index=False)
    return buffer.getvalue()


def better_predictions(forger: Forger) -> None:
    """Sure and right throughout, with metrics that follow from it."""
    from lib.data.rows import read_rows
    from lib.evaluation.metrics import measure
    from lib.evaluation.prediction_table import encode_predictions
    from lib.lineage.digests import digest_array

    prepared = read(forger.store, "prepared")
    rows = read_rows(forger.store, prepared, ("validation", "test"))
    scored = {split: (part, np.eye(2, dtype=np.float32)[part.labels]) for split, part in rows.items()}
    forger.file("predictions", encode_predictions(scored), "predictions.parquet")
    forger.content(**{f"{split}-probabilities": digest_array(values) for split, (_, values) in scored.items()})
    for split, (part, values) in scored.items():
        metrics_with(forger, split, **measure(values, part.labels, ["dim", "bright"]).model_dump())


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
    return frame


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
    facts["leaderboard"][0]["test_accuracy"] = 0.987
    forger.manifest(facts=facts)
    forger.content(leaderboard=digest_json(facts["leaderboard"]))


def another_page(forger: Forger) -> None:
    forger.file("index", forger.stored("index").replace(b"toy-softmax", b"other"), "index.html")


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
    (evaluation,) = (ref for name, ref in inputs.items() if name != "prepared")
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


def fact(path: str, value: Any) -> Forge:
    return lambda forger: forger.fact(path, value)


def file(name: str, data: bytes, named: str) -> Forge:
    return lambda forger: forger.file(name, data, named)


def metric(split: str, **changes: Any) -> Forge:
    return lambda forger: metrics_with(forger, split, **changes)


def table(name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Forge:
    return lambda forger: forger.file(name, parquet(forger, name, change), f"{name}.parquet")


NO_MODEL = "model.keras does not compute what its recipe's network does with its weights"
ELSEWHERE = "a model of these inputs and facts must lie at models/toy/toy-softmax/"
ROWS: dict[str, list[tuple[str, Forge, str]]] = {
    "dataset": [
        ("the licence", fact("licence", "public domain"), "facts.licence must be none,"),
        ("the source", fact("source", "https://example.org"), "facts.source must be made in a test,"),
        ("its rows", fact("rows.train", 61), "facts.rows.train must be 60,"),
        ("a fact that no dataset has", fact("mood", "fine"), "facts.mood must be nothing,"),
        ("no raw file", without_raw_labels, "the dataset at datasets/toy/"),
    ],
    "prepared": [
        ("a count of rows", fact("rows.test", 21), "facts.rows.test must be 20,"),
        ("duplicates", fact("duplicates.train_in_test", 7), "facts.duplicates.train_in_test must be 0,"),
        ("missing values", fact("missing_values", 1), "facts.missing_values must be 0,"),
        ("the limit", fact("limit", 20), "the rows of its splits.train must be "),
        ("a row of a split", table("splits", moved_split), "the rows of its splits.train must be "),
        ("the profile", profile_with, "profile.channels.mean.0 must be "),
        ("a class name", fact("class_names", ["dim", "dark"]), "facts.class_names.1 must be bright,"),
    ],
    "model": [
        ("another function of the same weights", another_network, NO_MODEL),
        ("another function, and the digest of its architecture", another_architecture, NO_MODEL),
        ("a layer that changes no value", another_name, "architecture must have sha256 "),
        ("other weights", other_weights, "weights must have sha256 "),
        ("no Keras file", file("model", b"PK", "model.keras"), "the model at models/toy/"),
        ("parameters", fact("parameters", 1), "facts.parameters must be 74,"),
        ("a layer", fact("layers.1.type", "Dense"), "facts.layers.1.type must be Rescaling,"),
        ("epochs", fact("epochs", 200), "facts.epochs must be 2,"),
        ("the kept epoch", fact("kept_epoch", 1), "facts.kept_epoch must be 2,"),
        ("a shorter history", shorter_history, "facts.epochs must be 1,"),
        ("the seed", fact("seed", 5), ELSEWHERE),
        ("the recipe", fact("recipe.batch_size", 11), ELSEWHERE),
        ("the limit", fact("limit", 20), "facts.limit must be null,"),
        ("what it started from", fact("weights", "imagenet"), "facts.weights must be null,"),
        ("a digest that nothing has", lambda f: f.content(mood="0" * 64), f"mood must have sha256 {'0' * 64}, "),
        ("a file that nothing has", file("notes", b"hello", "notes.txt"), "the list of files must be "),
        ("its place", moved, ELSEWHERE),
    ],
    "evaluation": [
        ("accuracy on test", metric("test", accuracy=0.987), "metrics.test.accuracy must be "),
        ("loss on validation", metric("validation", loss=0.001), "metrics.validation.loss must be "),
        ("accuracy on train", metric("train", accuracy=0.123), "metrics.train.accuracy must be "),
        ("confusion on train", metric("train", confusion=[[50, 0], [0, 0]]), "must have the rows of each class"),
        ("classes", metric("test", per_class=[]), "metrics.test.per_class must be "),
        ("accuracy in the facts alone", fact("metrics.test.accuracy", 0.987), "facts.metrics.test.accuracy must be "),
        ("a fact of its model", fact("parameters", 1), "facts.parameters must be 74,"),
        ("whether it is a baseline", fact("baseline", True), "facts.baseline must be false,"),
        ("predictions, and all that follows", better_predictions, "predictions on validation must be those of its"),
        ("labels beside the predictions", other_labels, "column label of the predictions does not follow"),
        ("another model", of_another_model, "the stored predictions on validation must be those of its model"),
    ],
    "report": [
        ("a leaderboard's accuracy", first_of_leaderboard, "facts.leaderboard.0.test_accuracy must be "),
        (
            "its table",
            file("leaderboard", b"rank,model\n1,other\n", "leaderboard.csv"),
            "sha256 of leaderboard must be ",
        ),
        ("the page", another_page, "sha256 of index must be "),
        ("the page of a model whose maker was forged", another_maker, "sha256 of index must be "),
        ("a picture", file("samples", png(20), "samples.png"), "must be the picture that its inputs give"),
        ("no picture", file("samples", b"PNG", "samples.png"), "the report at reports/toy/"),
        ("a file's name", file("leaderboard", b"rank,model\n1,other\n", "leaderboard.txt"), "sha256 of leaderboard "),
        ("an input's kind", of_a_dataset, "its input 'prepared' must be of that kind; received dataset"),
        ("its own kind", lambda f: f.manifest(kind="model"), "the model at reports/toy/"),
        ("a kind that there is not", lambda f: f.manifest(kind="medal"), "is a 'medal', which no step makes"),
        ("one evaluation twice", twice, "a report of these inputs and facts must lie at reports/toy/"),
    ],
}


def test_the_honest_store_holds(store: LocalStore) -> None:
    held: list[str] = []
    report = address_of(store, "report")
    ref = verify(store, report, lambda address, manifest: held.append(manifest.kind))
    assert held == list(KINDS)
    assert verify(store, report, sha256=ref.sha256) == ref
    with pytest.raises(PermanentError, match=f"expected sha256 {'0' * 64}, received {ref.sha256}"):
        verify(store, report, sha256="0" * 64)


@pytest.mark.parametrize(
    ("kind", "forge", "says"),
    [
        pytest.param(kind, forge, says, id=f"{kind}: {what}")
        for kind, rows in ROWS.items()
        for what, forge, says in rows
    ],
)
def test_a_forged_value_is_named(store: LocalStore, kind: str, forge: Forge, says: str) -> None:
    forge(Forger(store, kind))
    address = address_of(store, kind)
    with pytest.raises(PermanentError) as caught:
        check_output(store, read(store, kind).ref(address))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_who_forges_one_output_breaks_all_that_was_made_of_it(store: LocalStore) -> None:
    """Even where nothing in the output itself could tell: a recipe's description follows from nothing."""
    fact("description", "the best there is")(Forger(store, "model"))
    assert check_output(store, read(store, "model").ref(address_of(store, "model"))) == ""
    with pytest.raises(PermanentError, match=r"models/toy/.* is not what was asked for"):
        verify(store, address_of(store, "report"))


def test_pictures_that_other_packages_drew_are_said_not_to_be_compared(store: LocalStore) -> None:
    packages = read(store, "report").made_by["packages"] | {"matplotlib": "3.0"}
    Forger(store, "report").manifest(made_by=read(store, "report").made_by | {"packages": packages})
    notes: list[str] = []
    report = address_of(store, "report")
    verify(store, report, warn=notes.append)
    assert notes == [f"{report}: its pictures are not compared: they were drawn by matplotlib 3.0"]


def test_what_another_version_of_a_step_made_is_told_from_forgery(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = STEPS["report"].version
    monkeypatch.setitem(STEPS, "report", replace(STEPS["report"], version=version + 1))
    with pytest.raises(PermanentError) as caught:
        verify(store, address_of(store, "report"))
    assert f"was made by version {version} of the step report, and this code has version {version + 1}" in str(
        caught.value
    )


def test_a_chain_of_1_200_inputs_ends_in_one_line(store: LocalStore) -> None:
    forged = read(store, "model")
    for number in range(1_200):
        path = store.root / f"models/toy/chain/{number}" / MANIFEST
        path.parent.mkdir(parents=True)
        path.write_bytes(forged.to_json())
        ref = forged.ref(f"models/toy/chain/{number}")
        forged = forged.model_copy(update={"inputs": {"prepared": ref}})
    with pytest.raises(PermanentError, match="no output of a later step is made of a model"):
        verify(store, ref.uri)
