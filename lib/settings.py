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

    store_uri: str = str(REPOSITORY / ".store")
    """A folder, or s3://bucket/prefix."""
    mirror_url: str | None = None
    """Fetch upstream files from here instead of their publishers: file://, https:// or s3://."""
    cache_dir: Annotated[Path, AfterValidator(Path.expanduser)] = Path("~/.cache/image-training-flows")
    """Files of an S3 store are kept here under their digest."""
    retry_delays_s: tuple[NonNegativeFloat, ...] = (5.0, 20.0, 60.0)
    """Waits before each new try after a transient error, as JSON: [5, 20, 60]. Up to half as much again is added."""
    checkpoint_interval_s: NonNegativeFloat = 300.0
    """Within long epochs, training state is saved this often."""
    allow_cpu: bool = False
    """Train recipes that run on a GPU where there is none, slowly."""
    lost_after_s: float = Field(default=310.0, ge=60)
    """`make deploy`: a run that has said nothing for this long is marked Crashed, and run again.

    Below 300 that takes 15 minutes more where the server was started anew: `deployments.automations` says why.
    """
    notify_webhook_url: str | None = None
    """`make deploy` has failures and reports told there, as JSON with text and url."""
    image_commit: str | None = None
    """The code's commit, where there is no git to ask: deployments/Dockerfile sets it."""
    lease_s: float = Field(default=60.0, gt=0)
    """A training that has not renewed its lease on a model for this long counts as dead."""


def read_settings() -> Settings:
    """The environment as it is now. Raises PermanentError where a variable does not parse."""
    try:
        return Settings()
    except ValidationError as error:
        raise explain_validation(error, "environment") from error
    except SettingsError as error:
        raise PermanentError(f"environment is not valid: {error}; lists are written as JSON: [5, 20, 60]") from error
