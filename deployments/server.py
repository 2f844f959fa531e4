"""The Prefect server as the commands of deployments find it, and what to do where it refuses or is not there."""

from urllib.parse import urlsplit, urlunsplit

import httpx
from prefect.settings import PREFECT_API_URL

from lib.errors import PermanentError, PipelineError, TransientError

REFUSED = (401, 403)


def explain(error: httpx.HTTPError | ValueError) -> PipelineError:
    """`error`, of a request to PREFECT_API_URL, as one line: permanent where a setting is wrong."""
    url = without_login(PREFECT_API_URL.value() or "")
    if isinstance(error, httpx.HTTPStatusError) and (status := error.response.status_code) < 500:
        if status in REFUSED:
            remedy = "set PREFECT_API_AUTH_STRING to its user:password; a trial stack's is in .env"
            return PermanentError(f"{url} refuses this login (HTTP {status}); {remedy}")
        return PermanentError(f"{url} is no Prefect API (HTTP {status}); set PREFECT_API_URL, it ends in /api")
    if isinstance(error, ValueError):  # a page, say, and no JSON
        return PermanentError(f"{url} is no Prefect API ({_line(error)}); set PREFECT_API_URL, it ends in /api")
    remedy = "start the server (make stack), or set PREFECT_API_URL; behind a proxy, set NO_PROXY"
    return TransientError(f"{url} cannot be reached ({_line(error)}); {remedy}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).split(" For more information")[0] or type(error).__name__


def without_login(url: str) -> str:
    """`url` as it may be shown: without user, password and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
