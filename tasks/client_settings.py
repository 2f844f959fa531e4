"""Settings that Prefect takes, and with which no request can be sent: its client would try again for a minute."""

import re

from prefect.settings import (
    PREFECT_API_KEY,
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_TLS_INSECURE_SKIP_VERIFY,
    PREFECT_CLIENT_CUSTOM_HEADERS,
)
from prefect.settings.legacy import Setting

from lib.errors import PermanentError
from lib.settings import OF_CERTIFICATES, why_no_certificates
from tasks.places import how_to_unset, name_of

LONGEST_TIMEOUT_S = 86_400.0
HEADER_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
HEADER_VALUE = re.compile(r"([!-~]([\t -~]*[!-~])?)?")


def check_client_settings() -> None:
    """Raise PermanentError that names the setting with which no request can be sent."""
    headers: dict[str, str] = PREFECT_CLIENT_CUSTOM_HEADERS.value()
    if not all(HEADER_NAME.fullmatch(name) and HEADER_VALUE.fullmatch(value) for name, value in headers.items()):
        raise refused(
            PREFECT_CLIENT_CUSTOM_HEADERS,
            "must be names and values that HTTP allows: printable ASCII, with no line end or space around it",
        )
    if not HEADER_VALUE.fullmatch(PREFECT_API_KEY.value() or ""):
        raise refused(PREFECT_API_KEY, "must be printable ASCII")
    timeout_s: float = PREFECT_API_REQUEST_TIMEOUT.value()
    if not 0 < timeout_s <= LONGEST_TIMEOUT_S:
        rule = f"must be seconds above 0, and at most {LONGEST_TIMEOUT_S:,.0f}"
        raise refused(PREFECT_API_REQUEST_TIMEOUT, rule, f"{timeout_s:g}")
    _check_certificates()


def _check_certificates() -> None:
    """Prefect's client reads them as it is made, be it for a server without TLS."""
    place: str | None = PREFECT_API_SSL_CERT_FILE.value()
    if not place or PREFECT_API_TLS_INSECURE_SKIP_VERIFY.value():
        return
    if why := why_no_certificates(place):
        raise refused(PREFECT_API_SSL_CERT_FILE, OF_CERTIFICATES, f"{place}: {why}")


def refused(setting: Setting, rule: str, received: str = "another value, which is not shown") -> PermanentError:
    """The setting's value is not as the `rule` says."""
    return PermanentError(f"{name_of(setting)} {rule}; received {received}: change it, or {how_to_unset(setting)}")
