"""Where things are and how patient to be: the only reader of the environment. S3 access is the AWS SDK's own."""

import os
import re
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeFloat, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from lib import addresses
from lib.environment_file import how_to_unset
from lib.errors import InTheWay, PermanentError, explain_validation
from lib.files import check_regular

REPOSITORY = Path(__file__).resolve().parents[1]
LONGEST_LEASE_S = 86_400.0
PROXIES = re.compile("(HTTPS?|ALL)_PROXY", re.IGNORECASE)
OTHERS = re.compile("AWS_.*|PREFECT_API_(URL|KEY|AUTH_STRING)|((HTTPS?|NO|ALL)_PROXY)", re.IGNORECASE)
"""Variables that libraries read, and that come from the same file as ours."""
OF_CERTIFICATES = "must name a file of CA certificates"


def _folder(text: object) -> Path:
    return addresses.folder(str(text), "CACHE_DIR must be a folder")


def _webhook(text: str) -> str:
    return addresses.web_address(text, "NOTIFY_WEBHOOK_URL must be https://host/…")


class Settings(BaseSettings):
    """One environment variable a field, upper-cased: `STORE_URI=s3://bucket/prefix`. An empty one counts as not set."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", validate_default=True, env_ignore_empty=True)

    store_uri: str = Field(
        default=str(REPOSITORY / ".store"),
        description="Where all outputs are stored: a folder, or `s3://bucket/prefix`.",
    )
    mirror_url: Annotated[str, AfterValidator(addresses.mirror)] | None = Field(
        default=None,
        repr=False,
        description="Fetch datasets and pretrained weights from here instead of from their publishers: "
        "`file://`, `https://` or `s3://`. A user, a password or a token in it is used and never written anywhere.",
    )
    cache_dir: Annotated[Path, BeforeValidator(_folder)] = Field(
        default=Path("~/.cache/image-training-flows"),
        description="Folder for local copies of files of an S3 store, each under its digest.",
    )
    cache_max_gb: float = Field(
        default=20.0,
        gt=0,
        le=1e9,
        allow_inf_nan=False,
        description="Size of `CACHE_DIR` in GB. Above it, the files that were used least recently are removed, but "
        "none that was used within the last hour.",
    )
    retry_delays_s: tuple[Annotated[float, Field(ge=0, le=86_400)], ...] = Field(
        default=(5.0, 20.0, 60.0),
        max_length=100,
        description="Seconds to wait before each retry of a step after a transient error, as a JSON list. "
        "Its length is the number of retries. Each wait varies at random, up to half as much again.",
    )
    checkpoint_interval_s: NonNegativeFloat = Field(
        default=300.0,
        allow_inf_nan=False,
        description="Seconds between checkpoints within an epoch. There is always one after each epoch.",
    )
    stop_within_s: float = Field(
        default=30.0,
        gt=0,
        le=86_400,
        description="Seconds that a training process has to save its state when it is asked to stop; then it is "
        "killed. Half of it is for the training steps under way. Set more where a state is large or the store slow, "
        "and let whatever stops the worker wait longer than this.",
    )
    allow_cpu: bool = Field(default=False, description="`1`: train GPU recipes on the CPU if there is no GPU, slowly.")
    lost_after_s: float = Field(
        default=310.0,
        ge=60,
        le=86_400,
        # Why more than 300: see `deployments.automations`.
        description="For `make deploy`: heartbeat timeout in seconds, at least 60. The server marks a run that is "
        "silent for longer as Crashed, and runs it again. Set more than 300: with less, this can take 15 minutes "
        "longer after a restart of the server.",
    )
    notify_webhook_url: Annotated[str, AfterValidator(_webhook)] | None = Field(
        default=None,
        repr=False,
        description="For `make deploy`: notifications of failures and reports go to this URL, as JSON with `text` and "
        "`url`.",
    )
    schedules: Literal["active", "paused"] = Field(
        default="active",
        description="For `make deploy`: `paused` creates new schedules paused, as in a trial stack. Start one "
        "with `--resume`.",
    )
    schedule_time_zone: str | None = Field(
        default=None,
        description="For `make deploy`: time zone of the schedules, such as `Europe/Berlin`, unless "
        "`deployments/prefect.yaml` names one. Default: that of the machine where `make deploy` runs.",
    )
    image_commit: str | None = Field(
        default=None,
        description="Git commit of the code, if it is not in a git repository. `deployments/Dockerfile` sets it.",
    )
    lease_s: float = Field(
        default=60.0,
        gt=0,
        le=LONGEST_LEASE_S,
        description="A training process renews a lease on the model that it trains. After this many seconds without a "
        "renewal it counts as dead, and another run takes over.",
    )

    def seen_from_anywhere(self) -> "Settings":
        """The same for a process whose current folder is another."""
        store = self.store_uri
        if not store.startswith("s3://"):
            store = str(addresses.folder(store, "STORE_URI must be a folder or s3://bucket/prefix").absolute())
        return self.model_copy(update={"store_uri": store, "cache_dir": self.cache_dir.absolute()})


def read_settings() -> Settings:
    """The environment as it is now. Raises PermanentError where a variable does not parse."""
    _check_characters()
    try:
        return Settings()
    except ValidationError as error:
        raise explain_validation(error, "environment") from error
    except (SettingsError, RecursionError) as error:
        raise PermanentError(f"environment is not valid: {error}; lists are written as JSON: [5, 20, 60]") from error


def _check_characters() -> None:
    """Of ours and of the libraries': a line end of Windows would become part of a key, which no error may show."""
    names = {name.upper() for name in Settings.model_fields}
    for name, value in os.environ.items():
        if (name in names or OTHERS.fullmatch(name)) and not value.isprintable():
            raise PermanentError(
                f"variables must hold printable characters alone; {name} has others; if it comes from a file with line "
                "ends of Windows (CRLF), save that with LF"
            )


def check_proxies() -> None:
    """Raise PermanentError where a variable names a proxy that not all of our libraries can use.

    Some refuse it even where the address that is asked for needs none, as that of a server on this machine.
    """
    for name, value in os.environ.items():
        if value and PROXIES.fullmatch(name):
            addresses.web_address(
                value if "://" in value else f"http://{value}",
                f"{name} must name an HTTP proxy, such as http://host:3128 (SOCKS is not supported); "
                f"else {how_to_unset(name)}",
            )
        if value and name.upper() == "NO_PROXY":
            _check_no_proxy(name, value)


def _check_no_proxy(name: str, value: str) -> None:
    """Each entry as httpx takes it, which has no function of its own for one."""
    import httpx  # which takes a while, and is needed only here

    entries = [entry.strip() for entry in value.split(",")]
    for entry in () if "*" in entries else entries:
        try:
            httpx.URL(entry if "://" in entry else f"all://[{entry}]" if _is_ipv6(entry) else f"all://*{entry}")
        except (httpx.InvalidURL, ValueError) as error:
            raise PermanentError(
                f"{name} must list hosts, domains and IP addresses, with commas between them (no networks of IPv6); "
                f"received {entry!r}: {error}; remove that, or {how_to_unset(name)}"
            ) from error


def _is_ipv6(text: str) -> bool:
    try:
        return ip_address(text.partition("/")[0]).version == 6
    except ValueError:
        return False


def check_tls() -> None:
    """Raise PermanentError where a variable that every TLS connection heeds names a file that cannot be used."""
    if place := os.environ.get("SSLKEYLOGFILE"):
        try:  # not to wait where it is a FIFO
            os.close(os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise PermanentError(
                f"SSLKEYLOGFILE must name a file that can be written; received {place}: {error.strerror}; "
                f"else {how_to_unset('SSLKEYLOGFILE')}"
            ) from error
    check_certificates("SSL_CERT_FILE", folders=False)


def check_certificates(*variables: str, folders: bool = True) -> None:
    """Raise PermanentError where the first of `variables` that is set names no certificates.

    Some libraries take a folder of them too.
    """
    for name in variables:
        if place := os.environ.get(name):
            if why := why_no_certificates(place, folders):
                raise PermanentError(f"{name} {OF_CERTIFICATES}; received {place}: {why}")
            return


def why_no_certificates(place: str, folders: bool = False) -> str:
    """Why the file at `place`, or with `folders` the folder, gives a TLS connection none; empty where it does."""
    try:
        is_folder = folders and Path(place).is_dir()
        if not is_folder:
            check_regular(Path(place))
        ssl.create_default_context(cafile=None if is_folder else place, capath=place if is_folder else None)
    except (OSError, InTheWay) as error:  # SSLError too
        return str(getattr(error, "strerror", None) or error)
    return ""
