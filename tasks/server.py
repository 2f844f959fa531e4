"""The Prefect server of a run: the one that is set, if it answers and lets us in, or a temporary one."""

import os
import re
from ipaddress import ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
from prefect.client.orchestration import get_client
from prefect.context import refresh_global_settings_context
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_SERVER_EPHEMERAL_ENABLED,
    get_current_settings,
    temporary_settings,
)

from lib.errors import NO_TLS, PermanentError, PipelineError, TransientError, one_line
from lib.time_limits import TooSlow, within
from tasks.client_settings import check_client_settings
from tasks.places import how_to_unset, name_of, place_of
from tasks.temporary_server import TemporaryServer, check_database

PATIENCE = httpx.Timeout(10, connect=5)
"""Four tries to connect, as Prefect's client makes, and an answer stay below half a minute."""
ANSWERS_WITHIN_S = 28.0
"""In all, however slowly each byte comes."""
WAITS_FOR_IT = {408, 429, 502, 503}
"""Prefect's client would ask again after them, first waiting as long as the server says, be it for days."""
NO_API, NO_ENTRY = "is not the API of a Prefect server; its address ends in /api", "refuses us"
OF_TLS = {
    re.compile("CERTIFICATE"): "shows a certificate that is not trusted; set PREFECT_API_SSL_CERT_FILE",
    NO_TLS: "does not speak TLS; PREFECT_API_URL must begin with http://",
}
CONNECTION_ENDED = ("disconnected", "closed connection")
"""Words of the errors about an answer that hold nothing of it."""
REFUSALS = {
    401: f"{NO_ENTRY}; set PREFECT_API_AUTH_STRING to its user:password (a trial stack's is in .env), or for Prefect "
    "Cloud PREFECT_API_KEY",
    403: f"{NO_ENTRY}; check PREFECT_API_AUTH_STRING or PREFECT_API_KEY",
    404: NO_API,
    405: NO_API,
    501: NO_API,
    407: "cannot be reached: the proxy wants a password",
}
OTHER_FAULTS = {
    "InvalidURL": "must have an address such as http://127.0.0.1:4200/api",
    "JSONDecodeError": NO_API,
    "DecodingError": NO_API,
    "TooManyRedirects": NO_API,
    "UnicodeDecodeError": NO_API,
    "LocalProtocolError": "cannot be asked",
    "IDNAError": "must have an address such as http://127.0.0.1:4200/api",
    "UnicodeError": "must have an address such as http://127.0.0.1:4200/api",
    "incompatible versions": "is of another version of Prefect",
}
"""By what stands in the error or its name."""


def require_server() -> None:
    """Raise within half a minute, on one line, where no Prefect server will serve this run.

    PermanentError where a setting is wrong or the server refuses us, TransientError where it does not answer. Where no
    server is set, it starts Prefect's temporary one, which a flow would start anyway; it ends with this process.
    """
    if PREFECT_API_URL.value():
        ask_server()
    elif _may_be_temporary():
        check_client_settings()
        check_database()
        _let_pass_by_proxies("127.0.0.1")
        TemporaryServer().start()
    else:
        raise PermanentError(
            f"PREFECT_API_URL must name a Prefect server, where {name_of(PREFECT_SERVER_EPHEMERAL_ENABLED)} forbids a "
            f"temporary one; it is not set: set it, or {how_to_unset(PREFECT_SERVER_EPHEMERAL_ENABLED)}"
        )


def _may_be_temporary() -> bool:
    """Whether nobody forbids a temporary server.

    Prefect's default does, and its own profile `ephemeral` allows one: a profile of one's own says neither.
    """
    chosen = get_current_settings().server.ephemeral
    if "enabled" not in chosen.model_fields_set:
        os.environ[PREFECT_SERVER_EPHEMERAL_ENABLED.name] = "true"
        refresh_global_settings_context()
        return True
    return chosen.enabled


def require_address() -> None:
    """Raise PermanentError where no server is named: a temporary one, which Prefect would start, nobody sees."""
    if not PREFECT_API_URL.value():
        raise PermanentError(
            "PREFECT_API_URL must name the Prefect server; it is not set: set it, or start one: make stack"
        )
    check_client_settings()


def ask_server(can_do_without: bool = True) -> str:
    """The version of the server that PREFECT_API_URL names. Raises as `require_server` does.

    `can_do_without` says whether the command runs without a server too, as its error then advises.
    """
    check_client_settings()
    try:
        return within(ANSWERS_WITHIN_S, _ask_server)
    except TooSlow as error:
        raise TransientError(f"{server_name()} {error}; look at its log{_through_proxy()}") from error
    except Exception as error:  # whatever a server's answer makes libraries raise
        other = PermanentError(f"{server_name()} {NO_API}: {type(error).__name__}")
        raise explain(error, can_do_without) or other from error


def _ask_server() -> str:
    # Prefect's own client: it knows about passwords and certificates.
    hooks = {"timeout": PATIENCE, "event_hooks": {"response": [_do_not_wait]}}
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), get_client(hooks, sync_client=True) as client:
        client.read_flows(limit=1)  # past the password, and down to the database
        client.raise_for_api_version_mismatch()
        return client.api_version()


def _do_not_wait(response: httpx.Response) -> None:
    if response.status_code in WAITS_FOR_IT:
        raise httpx.HTTPStatusError("busy", request=response.request, response=response)


def explain(error: BaseException, can_do_without: bool = True) -> PipelineError | None:
    """What an error of Prefect's client says about the server of this run; None where it does not."""
    if isinstance(error, httpx.HTTPStatusError):
        return of_status(error.response.status_code)
    where, said, proxy = server_name(), what_is_said(error), _through_proxy()
    lost = isinstance(error, httpx.TransportError) and not isinstance(error, httpx.LocalProtocolError)
    if lost or "Failed to reach API" in said:
        if isinstance(error, httpx.UnsupportedProtocol):
            return PermanentError(f"{where} must have an address such as http://127.0.0.1:4200/api; {said}")
        if why := next((why for pattern, why in OF_TLS.items() if pattern.search(said)), ""):
            return PermanentError(f"{where} {why}")
        kind = PermanentError if proxy and _is_loopback() else TransientError
        advice = proxy or _start_it(can_do_without)
        return kind(f"{where} cannot be reached: {said or type(error).__name__}{advice}")
    for known, why in OTHER_FAULTS.items():
        if known in f"{type(error).__name__}: {said}":
            return PermanentError(f"{where} {why}: {said}")
    return None


def what_is_said(error: BaseException) -> str:
    """The error's message, without what was sent, which may be a password, and without what was answered."""
    if isinstance(error, httpx.LocalProtocolError):
        return "PREFECT_CLIENT_CUSTOM_HEADERS and PREFECT_API_KEY must be printable ASCII"
    said = one_line(error)
    if isinstance(error, httpx.RemoteProtocolError) and not any(words in said for words in CONNECTION_ENDED):
        return "it does not answer as HTTP"
    return said


def is_of_the_server(status: int) -> bool:
    """Whether the status says of the server, and not of what was asked, that it does not serve us."""
    return status in {401, 403, 407} | WAITS_FOR_IT or status >= 500


def no_api(received: str) -> PermanentError:
    """Something else answers in the place of a server that served us before."""
    rule = "must answer as the API of a Prefect server"
    return PermanentError(
        f"{server_name()} {rule}; received {received}, as of a proxy that wants a login: look at what is before the "
        f"server{_through_proxy()}"
    )


def of_status(status: int) -> PipelineError:
    """What this status says of the server."""
    passes = status not in REFUSALS and (status >= 500 or status in WAITS_FOR_IT)
    kind = TransientError if passes else PermanentError
    look = "unset what is set for another (PREFECT_SERVER_…)" if is_temporary() else "look at its log and its database"
    why = REFUSALS.get(status, f"does not serve us; {look}")
    return kind(f"{server_name()} {why} (HTTP {status}){_through_proxy()}")


def _start_it(can_do_without: bool) -> str:
    if is_temporary():
        return ""
    else_without = f", or run without one: {how_to_unset(PREFECT_API_URL)}" if can_do_without else ""
    here = urlsplit(PREFECT_API_URL.value()).hostname in {"127.0.0.1", "localhost"}
    return f"; start it{' (make stack)' if here else ''}{else_without}"


def is_temporary() -> bool:
    """Whether the server is one of this process alone."""
    return PREFECT_API_URL.value() in {None, TemporaryServer.url}


def server_name() -> str:
    """The server's address, without a password, and where it is set if that is not the environment."""
    if is_temporary():
        return "Prefect's temporary server"
    url, place = urlsplit(PREFECT_API_URL.value()), place_of(PREFECT_API_URL)
    address = url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()
    return f"the Prefect server {address}{f' (set by {place})' if place else ''}"


def _through_proxy() -> str:
    """Which proxy the environment puts before the server, and what keeps it away; empty where there is none."""
    url = urlsplit(PREFECT_API_URL.value() or "")
    proxies, host = getproxies(), url.hostname or ""
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(host):
        return ""
    return f"; the proxy {urlsplit(proxy).netloc.rpartition('@')[2] or proxy} is between: set NO_PROXY={host}"


def _is_loopback() -> bool:
    host = urlsplit(PREFECT_API_URL.value() or "").hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _let_pass_by_proxies(host: str) -> None:
    for name in ("no_proxy", "NO_PROXY") if "no_proxy" in os.environ else ("NO_PROXY",):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), host)))
