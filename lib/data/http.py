"""A file over HTTP, in blocks: a whole answer of status 200, or an error that says what to do."""

import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from lib import time_limits
from lib.addresses import web_address
from lib.errors import NO_TLS, PermanentError, PipelineError, TransientError, one_line
from lib.settings import check_certificates
from lib.time_limits import TooSlow, every_answer_within, watch_answers, within

BLOCK_BYTES = 1 << 18
SILENT_FOR_S = 30.0
ANSWERS_WITHIN_S = 120.0
"""To its first byte of content, redirects included, however slowly each byte of a header comes."""
BUSY = {408, 425, 429}
ELSEWHERE = "set MIRROR_URL to a place that has it"
REFUSED = {401, 403}
LOG_IN = f"{ELSEWHERE}, with its user and password in the address if it asks for them"
METADATA = {ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200")}
"""Where clouds hand out keys, besides link-local addresses."""
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

LONGEST_SAID = 500
ENDED = (RemoteDisconnected, IncompleteRead)
"""The errors of http.client that hold nothing of an answer."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def download(url: str, expect: Callable[[int], None]) -> Iterator[bytes]:
    """The content at `url`, as it comes; `expect` is told its length first, where the server says it.

    Where it does not, and does not mark the end either, a cut transfer looks like a whole one: `expect` is not called.
    A redirect may lead neither from https to http nor to addresses that only this machine or its cloud can reach.
    """
    if url.startswith("https:"):
        check_certificates(*CA_VARIABLES)
    watch_answers()
    with _explained(url), requests.Session() as session:
        session.hooks["response"] += [_check_redirect, _skip_content_of_redirect]
        session.headers["Accept-Encoding"] = "identity"  # what is packed on its way does not match its length
        answer = within(ANSWERS_WITHIN_S, lambda: session.get(url, stream=True, timeout=SILENT_FOR_S))
        _check_status(url, answer.status_code)
        is_chunked = "chunked" in answer.headers.get("Transfer-Encoding", "").lower()
        if not is_chunked and (length := _length(url, answer)) is not None:
            expect(length)
        received = 0
        while block := _next_block(answer):
            received += len(block)
            yield block
        if is_chunked:  # urllib3 raises where the mark of its end is missing
            expect(received)


def _next_block(answer: requests.Response) -> bytes:
    with every_answer_within(time_limits.WINDOW_S):  # a chunk's size and trailers may have no end
        # read1 gives what has come; read would wait for a whole block, however slowly it comes.
        return bytes(answer.raw.read1(BLOCK_BYTES, decode_content=False))


def _check_status(url: str, status: int) -> None:
    if status in BUSY or status >= 500:
        raise TransientError(f"{url} is not answering now: HTTP {status}")
    if status == 407:
        raise PermanentError(f"{url} cannot be had: the proxy asks for a password; check HTTPS_PROXY and HTTP_PROXY")
    if status in REFUSED:
        raise PermanentError(f"{url} cannot be had: HTTP {status}; {LOG_IN}")
    if status != 200:
        raise PermanentError(f"{url} cannot be had: HTTP {status}; {ELSEWHERE}")


def _length(url: str, answer: requests.Response) -> int | None:
    if (said := answer.headers.get("Content-Length")) is None:
        return None
    if not (said.isascii() and said.isdigit()):
        raise PermanentError(f"{url} must say its length in bytes; its Content-Length is no number; {ELSEWHERE}")
    return int(said)


def _check_redirect(answer: requests.Response, **options: Any) -> None:
    """Before it is followed."""
    if not answer.is_redirect:
        return
    location = requests.sessions.SessionRedirectMixin().get_redirect_target(answer) or ""
    try:
        target = web_address(urljoin(answer.url, location), "a redirect must lead to http(s)://host/…")
    except (PermanentError, ValueError) as error:
        raise PermanentError(f"{answer.url} redirects to what is no address; {ELSEWHERE}") from error
    if answer.url.startswith("https:") and not target.startswith("https:"):
        raise PermanentError(f"{answer.url} redirects from https to http, which anyone could change; {ELSEWHERE}")
    from_here = any(address.is_loopback for address in _addresses(answer.url))
    if any(_is_inside(address, from_here) for address in _addresses(target)):
        raise PermanentError(f"{answer.url} redirects to an address inside this machine or its cloud; {ELSEWHERE}")


def _skip_content_of_redirect(answer: requests.Response, **options: Any) -> None:
    """It may have no end, and requests would read it."""
    if answer.is_redirect:
        answer.close()


def _is_inside(address: Address, from_here: bool) -> bool:
    """Whether only this machine or its cloud can reach it; `from_here`: this machine itself sends us there."""
    if address.is_loopback or address.is_unspecified:
        return not from_here
    return address.is_link_local or address in METADATA


def _addresses(url: str) -> list[Address]:
    """What the host's name stands for here; nothing where only a proxy knows."""
    try:
        found = socket.getaddrinfo(urlsplit(url).hostname, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    addresses = [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]
    return [getattr(address, "ipv4_mapped", None) or address for address in addresses]


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """The causes are not passed on: their messages hold whole addresses, passwords included."""
    try:
        yield
    except PipelineError:
        raise
    except TooSlow as error:
        raise TransientError(f"{url} {error}; check the network, or set MIRROR_URL") from None
    except requests.exceptions.InvalidProxyURL:
        raise PermanentError(f"{url}: the proxy's address is none; check HTTPS_PROXY and HTTP_PROXY") from None
    except (requests.exceptions.InvalidHeader, urllib3.exceptions.InvalidHeader):
        raise PermanentError(f"{url} answers with headers that contradict each other; {ELSEWHERE}") from None
    except requests.exceptions.TooManyRedirects:
        raise PermanentError(f"{url} cannot be had: it redirects without end; {ELSEWHERE}") from None
    except ValueError as error:  # InvalidURL, InvalidSchema; of names that are too long UnicodeError
        raise PermanentError(f"{url} cannot be asked for: {_said(error)}; check MIRROR_URL and HTTPS_PROXY") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise PermanentError(
                f"{url} must have a certificate that is trusted here; received another ({_said(error)}); "
                f"set {CA_VARIABLES[0]} to the CA's file"
            ) from None
        if "407" in str(error) and any(isinstance(each, requests.exceptions.ProxyError) for each in _all_of(error)):
            raise PermanentError(
                f"{url} cannot be reached: the proxy in HTTPS_PROXY or HTTP_PROXY wants a user and a password (407)"
            ) from None
        if NO_TLS.search(str(error)):
            raise PermanentError(f"{url}: its server does not speak TLS; the address must begin with http://") from None
        raise TransientError(f"{url} cannot be reached: {_said(error)}; check the network, or set MIRROR_URL") from None


def _said(error: BaseException) -> str:
    """Its message at a length that a person reads, and nothing that was answered."""
    if any(isinstance(each, HTTPException) and not isinstance(each, ENDED) for each in _all_of(error)):
        return "it does not answer as HTTP"
    line = one_line(error)
    return line if len(line) <= LONGEST_SAID else f"{line[:LONGEST_SAID]}…"


def _all_of(error: BaseException | None) -> Iterator[BaseException]:
    """It and what is behind it: urllib3 puts what it caught among the arguments, or names it as the cause."""
    while error:
        yield error
        yield from (each for each in error.args if isinstance(each, BaseException))
        error = error.__cause__ or error.__context__
