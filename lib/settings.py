"""Where things are and how patient to be: the only reader of the environment. S3 access is the AWS SDK's own."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, NonNegativeFloat, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from lib.errors import PermanentError, explain_validation

REPOSITORY = Path(__file__).resolve().parents[1]


class Settings(BaseSettings):
    """One environment variable a field, upper-cased: `STORE_URI=s3://bucket/prefix`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", validate_default=True)

    store_uri: str = Field(
        default=str(REPOSITORY / ".store"),
        description="Where all outputs are stored: a folder, or `s3://bucket/prefix`.",
    )
    mirror_url: str | None = Field(
        default=None,
        description="Fetch datasets and pretrained weights from here instead of from their publishers: "
        "`file://`, `https://` or `s3://`.",
    )
    cache_dir: Annotated[Path, AfterValidator(Path.expanduser)] = Field(
        default=Path("~/.cache/image-training-flows"),
        description="Folder for local copies of files of an S3 store, each under its digest.",
    )
    retry_delays_s: tuple[NonNegativeFloat, ...] = Field(
        default=(5.0, 20.0, 60.0),
        description="Seconds to wait before each retry of a step after a transient error, as a JSON list. "
        "Its length is the number of retries. Each wait varies at random, up to half as much again.",
    )
    checkpoint_interval_s: NonNegativeFloat = Field(
        default=300.0,
        description="Seconds between checkpoints within an epoch. There is always one after each epoch.",
    )
    allow_cpu: bool = Field(default=False, description="`1`: train GPU recipes on the CPU if there is no GPU, slowly.")
    lost_after_s: float = Field(
        default=310.0,
        ge=60,
        # Why more than 300: see `deployments.automations`.
        description="For `make deploy`: heartbeat timeout in seconds, at least 60. The server marks a run that is "
        "silent for longer as Crashed, and runs it again. Set more than 300: with less, this can take 15 minutes "
        "longer after a restart of the server.",
    )
    notify_webhook_url: str | None = Field(
        default=None,
        description="For `make deploy`: notifications of failures and reports go to this URL, as JSON with `text` and "
        "`url`.",
    )
    image_commit: str | None = Field(
        default=None,
        description="Git commit of the code, if it is not in a git repository. `deployments/Dockerfile` sets it.",
    )
    lease_s: float = Field(
        default=60.0,
        gt=0,
        description="A training process renews a lease on the model that it trains. After this many seconds without a "
        "renewal it counts as dead, and another run takes over.",
    )


def read_settings() -> Settings:
    """The environment as it is now. Raises PermanentError where a variable does not parse."""
    try:
        return Settings()
    except ValidationError as error:
        raise explain_validation(error, "environment") from error
    except SettingsError as error:
        raise PermanentError(f"environment is not valid: {error}; lists are written as JSON: [5, 20, 60]") from error
