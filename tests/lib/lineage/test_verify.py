"""One forged value of each kind is named, though file digests, names and the manifest's checksum are right again."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lib.data.datasets import DATASETS
from lib.data.ingest import ingest
from lib.data.prepare import prepare
from lib.errors import PermanentError
from lib.lineage.manifests import MANIFEST
from lib.lineage.steps import STEPS
from lib.lineage.verify import check_output, verify
from lib.models.recipes import RECIPES
from lib.reporting.report import build_report
from lib.reporting.sections import Art
from lib.settings import Settings
from lib.store import LocalStore
from tests.lib.reporting import made
from tests.toy import RECIPE, SPEC, mirror
from tests.whole import whole_manifest

from .forger import (
    KINDS,
    Forge,
    Forger,
    address_of,
    all_wrong,
    another_architecture,
    another_card,
    another_maker,
    another_name,
    another_network,
    another_page,
    better_predictions,
    first_of_leaderboard,
    hostile_class,
    keras_file,
    metrics_with,
    moved,
    moved_split,
    of_a_dataset,
    of_another_model,
    other_labels,
    other_weights,
    parquet,
    png,
    profile_with,
    read,
    shorter_history,
    twice,
    without_raw_labels,
)


def drawn(*given: Any) -> Art:
    art = made.undrawn(*given)
    pictures = {name: png(10) if picture == made.PNG else picture for name, picture in art.pictures.items()}
    return art._replace(pictures=pictures)


@pytest.fixture(scope="module", autouse=True)
def toys() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, SPEC.name, SPEC)
        patch.setitem(RECIPES, RECIPE.name, RECIPE)
        patch.setattr("lib.reporting.pictures.draw", drawn)
        yield


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, toys: None) -> LocalStore:
    """A finished run of the toy recipe, with a real model; and a second model, as an honest source of other values."""
    from lib.evaluation import predictions, robustness
    from lib.training.fit import train
    from lib.training.task import TrainingTask

    folder = tmp_path_factory.mktemp("honest")
    store = LocalStore(folder / "store")
    prepared = prepare(SPEC, store, ingest(SPEC, store, mirror(folder / "mirror", 1), lambda *_: None), None)
    trained = [
        train(store, Settings(), lambda event: None, TrainingTask(recipe=RECIPE, prepared=prepared, seed=seed))
        for seed in (0, 1)
    ]
    given = store, lambda event: None, trained[0]
    build_report(store, prepared, [predictions.evaluate(*given)], beside=[robustness.measure_robustness(*given)])
    (store.root / "other").mkdir()
    shutil.move(store.root / trained[1].uri, store.root / "other" / "model")
    return store


@pytest.fixture
def store(honest: LocalStore, tmp_path: Path) -> LocalStore:
    shutil.copytree(honest.root, tmp_path / "store")
    return LocalStore(tmp_path / "store")


def fact(path: str, value: Any) -> Forge:
    return lambda forger: forger.fact(path, value)


def file(name: str, data: bytes, named: str) -> Forge:
    return lambda forger: forger.file(name, data, named)


def metric(split: str, **changes: Any) -> Forge:
    return lambda forger: metrics_with(forger, split, **changes)


def table(name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Forge:
    return lambda forger: forger.file(name, parquet(forger, name, change), f"{name}.parquet")


NO_MODEL = "model.keras does not compute what its recipe's network does with its weights"
ELSEWHERE = "its address must be models/toy/toy-softmax/"
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
        ("the limit", fact("limit", 20), "its address must be prepared/toy/"),
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
        ("a Keras file of hostile classes", hostile_class, "; remove that folder and run again"),
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
        ("classes", metric("test", per_class=[]), "(ValueError: test has other classes than the data): it is damaged"),
        ("accuracy in the facts alone", fact("metrics.test.accuracy", 0.987), "facts.metrics.test.accuracy must be "),
        ("a fact of its model", fact("parameters", 1), "facts.parameters must be 74,"),
        ("whether it is a baseline", fact("baseline", True), "facts.baseline must be false,"),
        ("predictions, and all that follows", better_predictions, "predictions on validation must be those of its"),
        ("labels beside the predictions", other_labels, "column label of the predictions does not follow"),
        ("the card", another_card, "sha256 of card must be "),
        ("another model", of_another_model, "its address must be evaluations/toy/toy-softmax/"),
    ],
    "robustness": [
        ("an accuracy", fact("figures.contrast.2.accuracy", 0.987), "facts.figures.contrast.2.accuracy must be "),
        ("predictions, and all that follows", all_wrong, "must be those of its model, at least 95% of a sample; "),
    ],
    "report": [
        ("a leaderboard's accuracy", first_of_leaderboard, "facts.leaderboard.0.validation_accuracy must be "),
        (
            "its table",
            file("leaderboard", b"rank,model\n1,other\n", "leaderboard.csv"),
            "sha256 of leaderboard must be ",
        ),
        ("the page", another_page, "sha256 of index must be "),
        ("the page of a model whose maker was forged", another_maker, "must show who made models/toy/"),
        ("a picture", file("samples", png(20), "samples.png"), "must be the picture that its inputs give"),
        ("no picture", file("samples", b"PNG", "samples.png"), "the report at reports/toy/"),
        ("a file's name", file("leaderboard", b"rank,model\n1,other\n", "leaderboard.txt"), "sha256 of leaderboard "),
        ("an input's kind", of_a_dataset, "its input 'prepared' must be of that kind; received dataset"),
        ("its own kind", lambda f: f.manifest(kind="model"), "its address must be in models, as it is a model"),
        ("a kind that there is not", lambda f: f.manifest(kind="medal"), "is a 'medal', which no step makes"),
        ("one evaluation twice", twice, "the list of inputs must be "),
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


def test_an_evaluation_says_of_a_model_that_cannot_be_read_what_verify_says(store: LocalStore) -> None:
    from lib.evaluation.predictions import evaluate

    hostile_class(Forger(store, "model"))
    address = address_of(store, "model")
    model = read(store, "model").ref(address)
    store.delete(f"{address_of(store, 'evaluation')}/{MANIFEST}")
    with pytest.raises(
        PermanentError, match=rf"^the model at {address} cannot be read: model-\w+\.keras: "
    ) as verified:
        check_output(store, model)
    with pytest.raises(PermanentError) as evaluated:
        evaluate(store, lambda event: None, model)
    assert str(evaluated.value) == str(verified.value)


@pytest.mark.parametrize("shape", [(6, 6, 3), (5, 6, 1), (6, 6, 1)], ids=["colours", "height", "classes"])
def test_an_evaluation_names_a_model_of_other_images_or_classes(store: LocalStore, shape: tuple[int, int, int]) -> None:
    from lib.evaluation.predictions import evaluate
    from lib.models.networks import build

    def other(network: Any) -> Any:
        return build(RECIPE, shape, 3 if shape == SPEC.image_shape else 2)

    Forger(store, "model").file("model", keras_file(Forger(store, "model"), other), "model.keras")
    store.delete(f"{address_of(store, 'evaluation')}/{MANIFEST}")
    model = read(store, "model")
    with pytest.raises(PermanentError) as error:
        evaluate(store, lambda event: None, model.ref(address_of(store, "model")))
    assert str(error.value).startswith(f"{model.files['model'].path} in {store.uri} must hold what its output needs; ")
    assert "\n" not in str(error.value)


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


def test_pictures_that_other_fonts_drew_are_said_not_to_be_compared(store: LocalStore) -> None:
    Forger(store, "report").manifest(made_by=read(store, "report").made_by | {"fonts": {"Noto Sans CJK JP": "0" * 16}})
    notes: list[str] = []
    report = address_of(store, "report")
    verify(store, report, warn=notes.append)
    assert notes == [f"{report}: its pictures are not compared: other fonts drew the names of its classes"]


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
    inputs = read(store, "model").inputs
    for number in range(1_200):
        forged = whole_manifest("model", address := f"models/toy/chain/{number}", inputs=inputs)
        store.write(f"{address}/{MANIFEST}", forged.to_json())
        inputs = {"prepared": (ref := forged.ref(address))}
    with pytest.raises(PermanentError, match="no output of a later step is made of a model"):
        verify(store, ref.uri)
