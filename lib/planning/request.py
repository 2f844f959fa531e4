"""What a run is asked to do. Each field is a parameter of a flow, a field of its form and an option of its command.

To add one, write it here and in the flow's signature: form, option and help follow (`flows.parameters`).
"""

import json
import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from lib.data.datasets import DATASETS
from lib.data.own import check_name
from lib.errors import explain_validation
from lib.images.own_source import OwnSource
from lib.lineage.kept import GRACE_S
from lib.lineage.manifests import Ref
from lib.models.backbone_schema import WeightsName, check_starts
from lib.models.recipes import RECIPES
from lib.planning.dates import MOST_SEEDS
from lib.registry.gate import Rules

AnyRequest = TypeVar("AnyRequest", bound=BaseModel)
Count = Annotated[int | None, Field(ge=1)]
LONGEST_GRACE_HOURS = 1_000_000.0
OverrideText = Annotated[
    str,
    BeforeValidator(lambda value: value if isinstance(value, str) else json.dumps(value)),
    WithJsonSchema({"title": "Value"}),
]
"""As --set has it: JSON, or else text."""
Seed = int | Literal["fresh"]
RecipeName = Annotated[str, Field(description="A recipe.", json_schema_extra={"enum": list(RECIPES)})]
START = "imagenet, none (random), a file or an s3:// address (default: the recipe's own)"


OFFERED = "OFFERED_DATASETS"
"""Names of people's own datasets, with commas: `make deploy` sets it for the program that makes Prefect's forms."""
KNOWN_DATASETS: list[Any] = [*DATASETS, *filter(None, os.environ.get(OFFERED, "").split(","))]


class DataRequest(BaseModel):
    """A dataset, and how much of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field("digits", description="Dataset", json_schema_extra={"enum": KNOWN_DATASETS})
    limit: Count = Field(
        None,
        description="Train on a subset of N images; validation and test stay whole; not compared with full runs",
    )


class IngestRequest(DataRequest):
    """What ingest does: with a source, a dataset of a person's own."""

    source: SkipJsonSchema[Annotated[OwnSource, AfterValidator(check_name)] | None] = Field(
        None, description="Where the images of your own dataset lie"
    )
    """Of its first version, or where they lie elsewhere from now on; the store knows it then."""


class RecipeRequest(DataRequest):
    """How recipes are trained on it."""

    epochs: Count = Field(None, description="Train for at most N epochs in each phase of a recipe")
    seed: Seed = Field(
        0,
        description="A number, or fresh: the date of the scheduled start in the time zone of its schedule, "
        "numbered where a day has several (20261127, 2026112701), the same over a run's retries",
    )
    overrides: dict[str, OverrideText] | None = Field(
        None,
        description="Recipe fields to override, such as learning_rate with 0.001 or augmentation.flip with true",
    )
    robustness: bool = Field(
        False,
        description="Also measure accuracy on up to 2,000 test images made noisy, blurred, bright, pale, coarse and "
        "compressed; minutes more for large networks",
    )


class TrainingRequest(RecipeRequest):
    """Which recipes: the parameters of train-all."""

    models: list[RecipeName] | None = Field(
        None, min_length=1, description="Recipes to train (default: all of the dataset's own)"
    )
    seeds: int = Field(
        1,
        ge=1,
        le=MOST_SEEDS,
        description="Train each model N times, from seed on: one row of the leaderboard with mean and deviation",
    )
    baselines: bool = Field(False, description="Also train the 2023 notebook's own settings, for comparison")
    duplicates: bool = Field(
        False,
        description="Look for near duplicates however many images there are "
        "(default: up to 200,000, or more if few are held out)",
    )
    weights: Annotated[WeightsName | list[WeightsName] | None, AfterValidator(check_starts)] = Field(
        None, description=f"Initial backbone weights; with several values, one model from each: {START}"
    )

    show_test: bool = Field(
        False,
        description="Also show figures on test; choose on validation first, or test is no test any more",
    )

    promote: bool = Field(
        False,
        description="Then compare the best model with the champion of the dataset, and promote it if it is better",
    )

    @property
    def starts(self) -> list[str]:
        """`weights` as a list."""
        return [self.weights] if isinstance(self.weights, str) else self.weights or []


class ModelRequest(RecipeRequest):
    """One recipe: the parameters of train-model."""

    model: str = Field(description="Recipe to train", json_schema_extra={"enum": list(RECIPES)})
    weights: Annotated[WeightsName | None, AfterValidator(check_starts)] = Field(
        None, description=f"Initial backbone weights: {START}"
    )
    prepared: SkipJsonSchema[Ref | None] = Field(None, description="Prepared data; found or made where this is empty")
    """What train-all passes on; a person has no use for it, so it is in no form."""

    def alone(self) -> TrainingRequest:
        """The same as a request for one recipe."""
        shared = self.model_dump(include=set(RecipeRequest.model_fields))
        return TrainingRequest(**shared, models=[self.model], weights=self.weights)


class PredictionRequest(BaseModel):
    """Images to predict, and by which model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: str = Field(
        min_length=1,
        description="Where the images lie: a folder, a Parquet, CSV or JSONL file, or an s3:// address of one",
    )
    dataset: str = Field("digits", description="Dataset", json_schema_extra={"enum": KNOWN_DATASETS})
    model: str | None = Field(
        None,
        description="Address of the model, such as models/digits/digits-cnn/<key> (default: the champion, or else the "
        "best on validation of the newest report)",
    )
    output: str | None = Field(
        None, description="Also write all rows to this .parquet or .csv file, or s3:// address of one"
    )
    top: int = Field(5, ge=1, description="So many of the likeliest classes are told of each image, where there are")
    max_bad: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of the images that may be unreadable; with more, all rows are there and the run fails",
    )
    image_column: str | None = Field(None, description="Column of a table that has the images or their paths")


class CleanUpRequest(BaseModel):
    """What retention keeps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep: Count = Field(
        None,
        description="Keep the newest N models of each recipe and the newest N reports of each dataset, tries apart, "
        "and delete what nothing needs any more; empty: delete nothing and only list",
    )
    grace_hours: float = Field(
        GRACE_S / 3600,
        ge=0,
        le=LONGEST_GRACE_HOURS,
        allow_inf_nan=False,
        description="Keep what was written within so many hours, and all that it was made of",
    )


class PromotionRequest(BaseModel):
    """Which model meets the champion of a dataset, and what the gate asks for; or whom a person chooses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field("digits", description="Dataset", json_schema_extra={"enum": KNOWN_DATASETS})
    model: str | None = Field(
        None, description="Address of the challenger (default: the best model on validation of the newest report)"
    )
    min_gain: float = Field(
        Rules().min_gain,
        ge=0,
        lt=1,
        allow_inf_nan=False,
        description="The least gain of validation accuracy for which the champion is replaced; 0.01 is one point",
    )
    max_slowdown: float = Field(
        Rules().max_slowdown,
        gt=0,
        allow_inf_nan=False,
        description="How many times as long as the champion the challenger may take for the same images",
    )
    rollback: bool = Field(False, description="Return to the champion before; nothing is compared")
    force: bool = Field(False, description="Make the model champion without a comparison; needs a reason")
    reason: str = Field("", max_length=1_000, description="Why a person decided so, for those who read the history")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.rollback and (self.force or self.model):
            raise ValueError("rollback names no model and cannot be forced: leave model and force out")
        if self.force and not (self.model and self.reason.strip()):
            raise ValueError("force needs the model (--model REF) and says why (--reason TEXT)")
        return self

    @property
    def rules(self) -> Rules:
        """What the gate asks for."""
        return Rules(min_gain=self.min_gain, max_slowdown=self.max_slowdown)


def read_request(kind: type[AnyRequest], values: Mapping[str, Any], strict: bool = False) -> AnyRequest:
    """The request of `kind` that `values` make. Raises PermanentError where they break a rule.

    `strict` refuses "3" for 3, as the Prefect server does with the parameters of a deployment.
    """
    try:
        return kind.model_validate(dict(values), strict=strict or None)
    except ValidationError as error:
        raise explain_validation(error, "the request") from error
