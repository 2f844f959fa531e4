"""Form, options and help of a flow are made from the fields of its request."""

import argparse
import os
import subprocess
import sys

import pytest
from prefect import flow
from prefect.utilities.callables import parameter_schema
from pydantic import BaseModel, Field

from deployments import deploy
from flows import get, predict, promote, retention, train, verify
from flows import ingest as ingest_command
from flows import train_model as train_model_command
from flows.ingest import ingest
from flows.parameters import add_options, read_options, takes
from flows.train import train_all
from flows.train_model import train_model
from lib.command_line import parser
from lib.data.datasets import DATASETS
from lib.errors import PermanentError
from lib.lineage.manifests import Ref
from lib.models.recipes import RECIPES
from lib.planning.request import DataRequest, ModelRequest, TrainingRequest
from lib.settings import REPOSITORY
from tests.faults import __main__ as faults


class Toy(BaseModel):
    """A request with a field of each kind."""

    rows: int | None = Field(None, ge=1, description="So many rows")
    fast: bool = Field(False, description="Be quick")
    names: list[str] | None = Field(None, description="The names", json_schema_extra={"enum": ["a", "b"]})
    title: str = Field("toy", description="What it is called")


def test_each_parameter_of_the_form_has_the_description_and_choices_of_its_field() -> None:
    @flow
    @takes(Toy)
    def toy(rows: int | None = None, fast: bool = False, names: list[str] | None = None, title: str = "toy") -> None:
        """Nothing."""

    properties = parameter_schema(toy).properties
    assert [each["description"] for each in properties.values()] == [
        "So many rows.", "Be quick.", "The names.", "What it is called.",
    ]  # fmt: skip
    assert properties["names"]["enum"] == ["a", "b"]
    assert properties["rows"]["anyOf"][0] == {"minimum": 1, "type": "integer"}


def test_no_form_asks_for_what_flows_pass_on_among_themselves_and_flows_still_may() -> None:
    prepared = {"uri": "prepared/digits/x", "sha256": "a" * 64}
    assert "prepared" not in parameter_schema(train_model).properties
    given = train_model.validate_parameters({"model": "digits-cnn", "prepared": prepared})
    assert given["prepared"] == Ref(**prepared)


def test_a_signature_that_does_not_fit_the_request_is_refused_as_it_is_defined() -> None:
    def one_missing(rows: int | None = None, fast: bool = False, names: list[str] | None = None) -> None: ...

    def another_default(
        rows: int | None = 5, fast: bool = False, names: list[str] | None = None, title: str = "toy"
    ) -> None: ...

    for function in (one_missing, another_default):
        with pytest.raises(TypeError, match=rf"{function.__name__} must take .*'rows': None.*received"):
            takes(Toy)(function)


def test_each_option_has_the_description_default_and_choices_of_its_field() -> None:
    options = parser("A toy.")
    add_options(options, Toy, "fast")
    text = " ".join(options.format_help().split())
    assert "--rows N So many rows" in text
    assert "--names NAME [NAME ...] The names: a, b" in text
    assert "--title NAME What it is called (default: toy)" in text
    assert "--fast" not in text
    assert read_options(Toy, options.parse_args(["--rows", "3", "--names", "a", "b"])) == Toy(rows=3, names=["a", "b"])
    with pytest.raises(PermanentError, match=r"^the request is not valid: rows: .* or equal to 1; received 0$"):
        read_options(Toy, options.parse_args(["--rows", "0"]))


def test_a_list_that_is_given_twice_is_added_up() -> None:
    options = parser("A toy.")
    add_options(options, Toy)
    twice = options.parse_args(["--names", "a", "b", "--names", "c"])
    assert read_options(Toy, twice).names == ["a", "b", "c"]
    assert read_options(Toy, options.parse_args([])).names is None
    options = train.make_parser()
    chosen = options.parse_args(["--models", "a", "--weights", "none", "--models", "b", "c", "--weights", "imagenet"])
    assert (chosen.models, chosen.weights) == (["a", "b", "c"], ["none", "imagenet"])


def test_every_option_of_a_list_adds_up() -> None:
    """One that does not keeps the last, without a word."""
    for module in (
        train,
        train_model_command,
        ingest_command,
        get,
        predict,
        promote,
        verify,
        retention,
        deploy,
        faults,
    ):
        for action in module.make_parser()._actions:
            adds_up = isinstance(action, argparse._ExtendAction | argparse._AppendAction)
            assert action.nargs != "+" or not action.option_strings or adds_up, (module.__name__, action.dest)
            assert not (adds_up and action.default), "what is given would be added to it"


def test_a_field_that_is_set_twice_is_refused() -> None:
    options = train.make_parser()
    chosen = options.parse_args(["--set", "dropout=0.1", "--set", "batch_size=8", "--set", "dropout=0.5"])
    with pytest.raises(PermanentError) as error:
        read_options(TrainingRequest, chosen)
    assert str(error.value) == "--set must give each field once; received 'dropout' 2 times: leave all but one out"
    chosen = options.parse_args(["--set", "dropout=0.1", "--set", "batch_size=8"])
    assert read_options(TrainingRequest, chosen).overrides == {"dropout": "0.1", "batch_size": "8"}


def test_the_forms_choose_among_the_datasets_and_recipes_there_are() -> None:
    train, model, data = (parameter_schema(each).properties for each in (train_all, train_model, ingest))
    assert [each["dataset"]["enum"] for each in (train, model, data)] == [list(DATASETS)] * 3
    assert model["model"]["enum"] == train["models"]["anyOf"][0]["items"]["enum"] == list(RECIPES)


def test_a_request_for_one_model_says_the_same_as_that_for_all() -> None:
    shared = {"dataset": "cifar100", "limit": 500, "epochs": 2, "seed": 7, "overrides": {"batch_size": "8"}}
    request = ModelRequest(**shared, model="mobilenet", weights="none")
    assert request.alone() == TrainingRequest(**shared, models=["mobilenet"], weights="none")
    assert set(DataRequest.model_fields) < set(ModelRequest.model_fields)


def test_no_flow_is_retried_by_a_setting_of_prefect() -> None:
    flows = (
        *("ingest.ingest", "predict.predict", "promote.promote", "retention.retention"),
        *("train.train_all", "train_model.train_model"),
    )
    names = [name.split(".") for name in flows]
    script = (
        f"from importlib import import_module as m; print([getattr(m('flows.' + a), b).retries for a, b in {names}])"
    )
    environment = {**os.environ, "PREFECT_FLOWS_DEFAULT_RETRIES": "2"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["[0,", *4 * ["0,"], "0]"]
