"""Files of an output that are whole, bear the right digest, and are not what their names say: each is named, in a line.

As another program, another version or a forger would leave them.
"""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.data.rows import read_rows
from lib.errors import PermanentError
from lib.lineage.manifests import Ref, load
from lib.lineage.steps import SPLITS
from lib.reporting.pictures import draw
from lib.reporting.report import build_report, read_report, recompute
from lib.reporting.summary import best_model, leaderboard_table, report_summary
from lib.store import LocalStore
from tests.lib.lineage.forger import Forger, read

from . import made
from .conftest import without_drawing

Change = Callable[[Any], Any]
"""Of what the honest file holds."""


def set_in(*path: str | int, to: Any) -> Change:
    def change(content: Any) -> Any:
        place = content
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = to
        return content

    return change


def without(*path: str) -> Change:
    def change(content: Any) -> Any:
        place = content
        for name in path[:-1]:
            place = place[name]
        del place[path[-1]]
        return content

    return change


def narrow(table: pa.Table) -> pa.Table:
    """Probabilities of three classes."""
    values = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(3 * len(table), np.float32)), 3)
    return table.set_column(table.column_names.index("probabilities"), "probabilities", values)


def lists(table: pa.Table) -> pa.Table:
    values = table["probabilities"].combine_chunks().to_pylist()
    return table.set_column(table.column_names.index("probabilities"), "probabilities", pa.array(values))


def no_numbers(table: pa.Table) -> pa.Table:
    values = pa.FixedSizeListArray.from_arrays(pa.array(np.full(10 * len(table), np.nan, np.float32)), 10)
    return table.set_column(table.column_names.index("probabilities"), "probabilities", values)


def first(table: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    table.loc[0, column] = value
    return table


FILES: dict[tuple[str, str], dict[str, Change]] = {
    ("evaluation", "metrics.json"): {
        "no accuracy": without("validation", "accuracy"),
        "accuracy in words": set_in("test", "accuracy", to="0.9"),
        "no split": without("test"),
        "another split": set_in("dev", to={}),
        "classes of other data": set_in("test", "per_class", 0, "name", to="cat"),
        "fewer classes": set_in("test", "per_class", to=[]),
        "a confusion of fewer classes": set_in("test", "confusion", to=[[1]]),
        "a confusion that is no matrix": set_in("test", "confusion", 0, to=[1]),
        "a list": lambda content: [content],
    },
    ("evaluation", "predictions.parquet"): {
        "other columns": lambda table: pa.table({"a": [1]}),
        "no split": lambda table: table.drop_columns(["split"]),
        "other classes": narrow,
        "lists of any length": lists,
        "no numbers": no_numbers,
        "fewer rows": lambda table: table[:400],
        "splits as numbers": lambda table: table.set_column(0, "split", pa.array(np.zeros(len(table)))),
    },
    ("model", "history.parquet"): {
        "other columns": lambda frame: frame.rename(columns={"loss": "cost"}),
        "words": lambda frame: frame.assign(accuracy="high"),
        "an epoch missing": lambda frame: frame[1:],
        "nothing": lambda frame: frame[:0],
        "a gap": lambda frame: first(frame, "validation_loss", np.nan),
    },
    ("prepared", "profile.json"): {
        "no channels": without("channels"),
        "rows of fewer classes": set_in("rows_per_class", "train", to=[1]),
        "rows of other splits": set_in("rows_per_class", to={}),
        "rows in words": set_in("rows_per_class", "train", 0, to="many"),
        "other pixels": set_in("pixels", "mean", to=[0.5]),
        "a number": lambda content: 7,
    },
    ("prepared", "splits.parquet"): {
        "other columns": lambda frame: frame.rename(columns={"index": "row"}),
        "no split of a name": lambda frame: frame[frame["split"] != "validation"],
        "fewer rows": lambda frame: frame[1:],
        "rows out of order": lambda frame: frame[::-1],
        "parts of rows": lambda frame: frame.assign(index=frame["index"] + 0.5),
        "rows that are not there": lambda frame: frame.assign(index=frame["index"] + 1_000_000),
        "rows below 0": lambda frame: frame.assign(index=frame["index"] - 10),
    },
    ("report", "captions.json"): {
        "a list": lambda content: [content],
        "numbers": lambda content: {name: [1] for name in content},
        "one too many": lambda content: {name: [["a", "b", 1.0, 2]] for name in content},
    },
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalStore, Ref, Ref]:
    store = LocalStore(tmp_path_factory.mktemp("original"))
    prepared = made.prepared_digits(store)
    with without_drawing():
        return store, prepared, build_report(store, prepared, [made.evaluated(store, prepared)])


@pytest.fixture
def honest(
    original: tuple[LocalStore, Ref, Ref], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[LocalStore, Ref, Ref]:
    """A store of its own with one model and a report: prepared data, and the report."""
    monkeypatch.setattr("lib.reporting.plots.png", lambda figure: made.PNG)
    shutil.copytree(original[0].root, tmp_path / "store")
    return LocalStore(tmp_path / "store"), *original[1:]


def change_file(forger: Forger, file: str, change: Change) -> None:
    name, honest, buffer = file.partition(".")[0], io.BytesIO(forger.stored(file.partition(".")[0])), io.BytesIO()
    if file.endswith(".json"):
        buffer.write(json.dumps(change(json.load(honest))).encode())
    elif name == "predictions":
        pq.write_table(change(pq.read_table(honest)), buffer)
    else:
        change(pd.read_parquet(honest)).to_parquet(buffer, index=False)
    forger.file(name, buffer.getvalue(), file)


def use(store: LocalStore, prepared: Ref, report: Ref) -> None:
    """All that reads such files: training and evaluation read rows, a report the rest."""
    data = load(store, prepared)
    read_rows(store, data, SPLITS)
    draw(store, data, {"model": read(store, "evaluation")}, [])
    read_report(store, report)


def refused(store: LocalStore, prepared: Ref, report: Ref) -> str:
    with pytest.raises(PermanentError) as error:
        use(store, prepared, report)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 800
    return str(error.value)


@pytest.mark.parametrize(
    ("kind", "file", "what"), [(*place, what) for place, changes in FILES.items() for what in (*changes, "rot", "PNG")]
)
def test_a_file_of_an_output_that_is_not_what_it_is_called_is_named(
    kind: str, file: str, what: str, honest: tuple[LocalStore, Ref, Ref]
) -> None:
    store, forger = honest[0], Forger(honest[0], kind)
    name = file.partition(".")[0]
    if what in {"rot", "PNG"}:
        forger.file(name, {"rot": b"PAR1 rot", "PNG": made.PNG}[what], file)
    else:
        change_file(forger, file, FILES[kind, file][what])
    path = read(store, kind).files[name].path
    said = refused(*honest)
    assert said.startswith(f"{path} in {store.uri} must hold what its output needs; received another content (")
    assert said.endswith(f": remove {forger.address}/manifest.json and run again, which makes it anew")


def test_labels_of_classes_that_there_are_not_are_named(honest: tuple[LocalStore, Ref, Ref]) -> None:
    store, forger = honest[0], Forger(honest[0], "dataset")
    table = pq.read_table(io.BytesIO(forger.stored("train")))
    labels = pa.array(table["label"].to_numpy() + 9).cast(pa.int16())
    buffer = io.BytesIO()
    pq.write_table(table.set_column(1, "label", labels), buffer, compression="none")
    forger.file("train", buffer.getvalue(), "train.parquet")
    assert "received another content (labels from 9 to 18 of 10 classes)" in refused(*honest)
    assert read(store, "dataset").files["train"].path in refused(*honest)


@pytest.mark.parametrize("change", [lambda lines: [], lambda lines: [{"model": "x"}], lambda lines: lines * 2])
def test_a_leaderboard_that_is_not_of_its_evaluations_is_named(
    change: Change, honest: tuple[LocalStore, Ref, Ref]
) -> None:
    store, _, report = honest
    forger = Forger(store, "report")
    forger.fact("leaderboard", change(read(store, "report").facts["leaderboard"]))
    forged = read(store, "report").ref(report.uri)
    for show in (leaderboard_table, best_model, report_summary, read_report):
        with pytest.raises(PermanentError) as error:
            show(store, forged)
        assert str(error.value).startswith(f"{report.uri}/manifest.json in {store.uri} must hold what its output needs")


def test_where_a_model_was_lost_and_made_anew_the_report_is_too_and_shows_the_same_until_then(
    honest: tuple[LocalStore, Ref, Ref],
) -> None:
    store, prepared, report = honest
    before, table = read_report(store, report), leaderboard_table(store, report)
    anew = read(store, "model").made_by | {"seconds": 1234.5, "commit": "another"}
    Forger(store, "model").manifest(made_by=anew)
    assert read_report(store, report) == before
    assert leaderboard_table(store, report) == table
    with pytest.raises(PermanentError, match=r"must show who made models/digits/.+, which was changed or made anew"):
        recompute(store, report.uri, load(store, report))
    evaluations = [ref for name, ref in read(store, "report").inputs.items() if name != "prepared"]
    assert build_report(store, prepared, evaluations) == report
    recompute(store, report.uri, load(store, report))
    assert ("training time", "20 min 34 s") in read_report(store, report).models[0].origin
    assert build_report(store, prepared, evaluations) == report


def test_a_report_that_does_not_record_who_made_what_it_shows_asks_that_itself(
    honest: tuple[LocalStore, Ref, Ref],
) -> None:
    store, _, report = honest
    before, record = read_report(store, report), read(store, "report").made_by
    Forger(store, "report").manifest(made_by={name: each for name, each in record.items() if name != "makers"})
    assert read_report(store, report) == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda makers: 3, "made_by.makers: Input should be a valid dictionary"),
        (lambda makers: {address: {} for address in makers}, "made_by.makers: Field required"),
        (lambda makers: {}, "made_by.makers without evaluations/"),
    ],
)
def test_makers_that_are_no_record_are_named(change: Change, says: str, honest: tuple[LocalStore, Ref, Ref]) -> None:
    store, _, report = honest
    record = read(store, "report").made_by
    Forger(store, "report").manifest(made_by=record | {"makers": change(record["makers"])})
    for show in (leaderboard_table, read_report):
        with pytest.raises(PermanentError) as error:
            show(store, report)
        assert says in str(error.value)
        assert "\n" not in str(error.value)
