"""Where a person's images lie and how they are to be read, as the commands and the store have it."""

import re

from pydantic import BaseModel, ConfigDict, Field

NAME = re.compile("[a-z0-9][a-z0-9-]{0,59}")


class OwnSource(BaseModel):
    """Where a person's images lie, and how they are to be read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=f"^{NAME.pattern}$", description="What your dataset is to be called")
    uri: str = Field(description="A folder, a Parquet, CSV or JSONL file, or an s3:// address of one, with your images")
    px: int = Field(64, ge=8, le=512, description="Side of the square images that models are given, in pixels")
    image_column: str | None = Field(None, description="Column of a table that has the images or their paths")
    label_column: str | None = Field(None, description="Column of a table that has the classes")
    group_column: str | None = Field(
        None, description="Column of a table whose equal values stay in one split, such as a patient's"
    )
    max_bad: float = Field(
        0.05, ge=0, le=1, description="Share of the files that may be unreadable; with more, nothing is made"
    )
