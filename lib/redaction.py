"""THE place that says what of an address may be shown: never its user info, its query or its fragment.

Passwords and tokens stand there. Every error of `lib.errors` goes through it, and so must all else that is written of
an address that came from outside. Also what libraries may log of their talk with servers.
"""

import logging
import re
from collections.abc import Callable
from functools import cache
from typing import Any

ADDRESS = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.-]{0,30}:/+)(?P<rest>[^\s'\"<>]*)")
"""Schemes have an end, so that a text of megabytes is searched in a moment."""
QUERY = re.compile(r"(?P<before>[\w/.%~-])(?P<rest>\?[^\s'\"<>]*)")
"""Of an address without its host, as libraries write them."""
PUNCTUATION = ",;:.)]}"
"""Of the sentence around an address, at its end."""
TALKERS = {"boto3", "botocore", "h2", "hpack", "httpcore", "httpx", "requests", "s3transfer", "urllib3", "websockets"}
"""Loggers of libraries that send keys: below a warning they tell all that is sent, in many forms."""
NOT_SHOWN = "(what is sent to servers is not shown)"


def without_secrets(text: str) -> str:
    """`text` with each address in it reduced to scheme, host and path."""
    without_users = ADDRESS.sub(lambda each: _reduced(each, _plain), text)
    return QUERY.sub(lambda query: _reduced(query, lambda rest: "" if re.search(r"\w", rest) else rest), without_users)


def _reduced(found: re.Match[str], reduce: Callable[[str], str]) -> str:
    rest = found["rest"].rstrip(PUNCTUATION)
    return f"{found['before']}{reduce(rest)}{found['rest'][len(rest) :]}"


def _plain(rest: str) -> str:
    """Host and path; nothing where an @ far behind may end a password in which `/`, `?` or `#` stand as they are."""
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    following = rest[len(authority) :]
    _, colon, port = authority.rpartition(":")
    if "@" not in authority and "@" in following and (following[0] != "/" or (colon and not port.isdigit())):
        return "…"
    return authority.rpartition("@")[2] + re.split("[?#]", following, maxsplit=1)[0]


@cache
def keep_out_of_logs() -> None:
    """From now on this process logs no secret that a library sends, whatever levels are set, by then or later."""
    for name in TALKERS:
        logging.getLogger(name).setLevel(logging.WARNING)  # Prefect's files of settings may set another
    plain = logging.getLogRecordFactory()

    def made(*told: Any, **more: Any) -> logging.LogRecord:
        record = plain(*told, **more)
        if str(record.name).partition(".")[0] in TALKERS:
            shown = record.levelno >= logging.WARNING
            record.msg, record.args = without_secrets(record.getMessage()) if shown else NOT_SHOWN, ()
            record.exc_info = None  # the error is raised, too
        return record

    logging.setLogRecordFactory(made)
