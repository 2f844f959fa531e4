"""What a field of a recipe may hold: a truth value is no number, and a number must be one of those computed with."""

import struct
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, field_validator

SMALLEST = 2.0**-126
"""Of float32, apart from 0: what is smaller loses digits, or counts as 0."""


class Described(BaseModel):
    """Data alone, each value of its own kind."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _of_its_kind(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic takes true for 1 and 1 for true: a slip would train another model than was meant.
        is_truth = cls.model_fields[str(info.field_name)].annotation is bool
        if is_truth and isinstance(value, int | float) and not isinstance(value, bool):
            raise ValueError("Input should be true or false")
        if not is_truth and isinstance(value, bool):
            raise ValueError("Input should not be true or false")
        return value


def _in_float32(number: float) -> float:
    """`number`, which must be what TensorFlow computes with, apart from rounding. -0 is 0, and has its address."""
    try:
        (rounded,) = struct.unpack("<f", struct.pack("<f", number))
    except OverflowError as error:
        raise ValueError("Input should be at most 3.4e38, the largest of float32") from error
    if 0 < abs(number) < SMALLEST:
        raise ValueError("Input should be 0 or at least 1.2e-38, the smallest of float32")
    if number < 1 <= rounded:
        raise ValueError("Input should be at most 0.9999999, or float32 takes it for 1")
    return number + 0.0


Float32 = Annotated[float, AfterValidator(_in_float32)]
