"""What a command does while its Prefect server does not serve it: it says so, waits, and ends with one line.

Prefect's client alone is silent for as long as a server says or, where that hangs, for seven minutes a call; what it
raises then is logged with a traceback.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import httpx
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
from prefect.events.worker import EventsWorker
from prefect.logging import get_logger
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from lib.command_line import end_at_once
from lib.errors import PipelineError, TransientError
from tasks.server import explain, is_of_the_server, no_api, server_name

SAYS_SO_AFTER_S = 10.0
ENDS_AFTER_S = 120.0
"""A server that is restarted or upgraded is back by then."""
SHOWS_WITHIN_S = 10.0
NOTES_EVERY_S = 60.0

_shown_only: ContextVar[bool] = ContextVar("shown_only", default=False)
_noted = deque([float("-inf")], maxlen=1)


def watch_calls(go_on: str) -> None:
    """From now on a call of Prefect's client that this thread waits for ends the command, if it is not served in time.

    So it is at once where the server refuses us, and where something else answers in its place. `go_on` says what to do
    then. Calls that nobody waits for, which send logs and events, fail with a warning.
    """
    waiting = threading.get_ident()
    plain, plain_in_loop = PrefectHttpxSyncClient.send, PrefectHttpxAsyncClient.send

    def send(self: PrefectHttpxSyncClient, *args: Any, **options: Any) -> httpx.Response:
        if threading.get_ident() != waiting or _shown_only.get():
            return plain(self, *args, **options)
        _be_patient(self, _forget_wait)
        with _or_end(go_on):
            return _checked(plain(self, *args, **options))

    async def send_in_loop(self: PrefectHttpxAsyncClient, *args: Any, **options: Any) -> httpx.Response:
        _be_patient(self, _forget_wait_in_loop)
        with _or_note() if _shown_only.get() else _or_end(go_on):
            async with asyncio.timeout(ENDS_AFTER_S if _shown_only.get() else None):
                return _checked(await plain_in_loop(self, *args, **options))

    PrefectHttpxSyncClient.send, PrefectHttpxAsyncClient.send = send, send_in_loop  # type: ignore[method-assign]
    for service in cast(tuple[Any, ...], (APILogWorker, EventsWorker)):
        service._run = _run_shown_only(service._run)


def _be_patient(
    client: PrefectHttpxSyncClient | PrefectHttpxAsyncClient, hook: Callable[[httpx.Response], Any]
) -> None:
    """Wait for a server that restarts: the command has been served before, though not by this client."""
    client._has_connected = True
    if hook not in (hooks := client.event_hooks["response"]):
        hooks.append(hook)


def _forget_wait(answer: httpx.Response) -> None:
    """How long to wait, by the answer: be it for days. Prefect's client then asks again after 2, 4, 8 s and so on."""
    answer.headers.pop("Retry-After", None)


async def _forget_wait_in_loop(answer: httpx.Response) -> None:
    _forget_wait(answer)


def _run_shown_only(run: Callable[[Any], Coroutine[Any, Any, None]]) -> Callable[[Any], Coroutine[Any, Any, None]]:
    async def run_shown_only(self: object) -> None:
        _shown_only.set(True)  # for this task of the loop alone
        await run(self)

    return run_shown_only


@contextmanager
def shown_only() -> Iterator[None]:
    """Calls within are of no use but to be looked at: they fail soon, and end nothing."""
    token = _shown_only.set(True)
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: SHOWS_WITHIN_S}):
            yield
    finally:
        _shown_only.reset(token)


def fault_of(error: BaseException) -> PipelineError | None:
    """What an error of a call says about the server; None where it is about what was asked, such as 404."""
    if isinstance(error, PipelineError):
        return error
    if isinstance(error, httpx.HTTPStatusError) and not is_of_the_server(error.response.status_code):
        return None if _is_json(error.response) else no_api(_received(error.response))
    return explain(error)


def _checked(answer: httpx.Response) -> httpx.Response:
    """The answer, where it is one of an API: a proxy's login page comes with status 200."""
    if answer.content and not _is_json(answer):
        raise no_api(_received(answer))
    return answer


def _received(answer: httpx.Response) -> str:
    return f"HTTP {answer.status_code} with {answer.headers.get('Content-Type', 'no type of content')}"


def _is_json(answer: httpx.Response) -> bool:
    return "json" in answer.headers.get("Content-Type", "")


@contextmanager
def _or_end(go_on: str) -> Iterator[None]:
    """What is within must end soon and well, or the command does."""
    ended = threading.Event()
    threading.Thread(target=_watch, args=(ended, go_on), daemon=True).start()
    try:
        yield
    except (httpx.HTTPError, PipelineError) as error:
        if fault := fault_of(error):
            end_at_once(f"{fault}; {go_on}", fault.exit_code)
        raise
    finally:
        ended.set()


def _watch(ended: threading.Event, go_on: str) -> None:
    if ended.wait(SAYS_SO_AFTER_S):
        return
    name, rest_s = server_name(), ENDS_AFTER_S - SAYS_SO_AFTER_S
    logger = get_logger("outages")
    logger.warning("%s has not served us for %.0f s; waiting for it, %.0f s more", name, SAYS_SO_AFTER_S, rest_s)
    if not ended.wait(rest_s):
        said = f"{name} has not served us for {ENDS_AFTER_S:.0f} s; look at its log"
        end_at_once(f"{said}; {go_on}", TransientError.exit_code)


@contextmanager
def _or_note() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, PipelineError, TimeoutError) as error:
        if (fault := fault_of(error)) and time.monotonic() - _noted[-1] > NOTES_EVERY_S:
            _noted.append(time.monotonic())
            get_logger("outages").warning("logs and events are not shown in the Prefect UI: %s", fault)
        raise
