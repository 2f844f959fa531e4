"""Addresses that come from outside, from a variable or an option: what each may say, and what it means.

What is not understood is refused: a misspelt address taken for a folder would put all results in a wrong place.
"""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lib.errors import PermanentError

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
WEB = re.compile("https?:", re.IGNORECASE)
VARIABLE = re.compile(r"\$(\{|[A-Za-z_])")


def check_text(text: str, rule: str) -> str:
    """`text`, which must be printable, without space at its ends and without variables of a shell.

    Raises PermanentError that begins with `rule`, as every function here does.
    """
    if not text:
        raise PermanentError(f"{rule}; received nothing")
    if not text.isprintable():
        raise PermanentError(f"{rule}, in printable characters (no line ends, as of Windows); received {_shown(text)}")
    if text != text.strip():
        raise PermanentError(f"{rule}, without spaces around it; received {_shown(text)}")
    if VARIABLE.search(text):
        raise PermanentError(f"{rule}; variables are not replaced in it; received {_shown(text)}")
    return text


def folder(text: str, rule: str) -> Path:
    """The folder that a path, `~/…`, `file:///…`, `file:/…` or `file://localhost/…` names."""
    check_text(text, rule)
    if text.startswith("file:"):
        path = re.fullmatch(r"file:(?://(?:localhost)?)?(/(?!/).*)", text)
        if path is None:
            raise PermanentError(f"{rule}; a folder's address is file:///…; received {_shown(text)}")
        return Path(check_text(unquote(path[1]), rule))
    if SCHEME.match(text.partition("/")[0]):
        raise PermanentError(f"{rule}; received {_shown(text)}")
    try:
        return Path(text).expanduser() if text.startswith("~") else Path(text)  # "./~x" is a folder in this one
    except RuntimeError as error:
        raise PermanentError(f"{rule}; received {_shown(text)}, and there is no such home folder") from error


def bucket_and_key(text: str, rule: str) -> tuple[str, str]:
    """Bucket and key, or prefix, of `s3://bucket/key`.

    `?` and `#` are refused: elsewhere they end a path, so that one of two readers would miss what follows.
    """
    check_text(text, rule)
    bucket, _, key = text.removeprefix("s3://").partition("/")
    if not text.startswith("s3://") or not bucket or set("?#") & set(text) or {".", ".."} & set(key.split("/")):
        raise PermanentError(f"{rule}, without ?, # and parts that are . or ..; received {_shown(text)}")
    if "@" in bucket:
        raise PermanentError(f"{rule}; keys are set by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, not in the address")
    return bucket, key.strip("/")


def web_address(text: str, rule: str) -> str:
    """`text`, which must be http(s)://host/…; no error shows it, for a secret may stand anywhere in it."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets of IPv6, a port that is no number
        valid = False
    if not valid or not text.isprintable() or set(" \\") & set(text):
        raise PermanentError(f"{rule}; received what is none, and is not shown, for it may hold a password")
    return text


def mirror(text: str, rule: str = "MIRROR_URL must begin with file://, https:// or s3://") -> str:
    """`text`, which must be the address of a mirror."""
    if WEB.match(text):
        return web_address(text, f"{rule} and a host")
    if text.startswith("s3:"):
        bucket_and_key(text, rule)
    elif text.startswith("file:"):
        folder(text, rule)
    else:
        raise PermanentError(f"{rule}; received {_shown(text)}")
    return text


def file_in(mirror_url: str, name: str) -> str:
    """The address of the file `name` in a mirror. What stands after `?`, such as a token, stays there."""
    if not WEB.match(mirror_url):
        return f"{mirror_url.rstrip('/')}/{name}"
    parts = urlsplit(mirror_url)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{name}", fragment="").geturl()


def _shown(text: str) -> str:
    """As an error shows it. A password with a space or a slash in it is still found by the @ after it."""
    scheme, colon, _ = text.partition(":")
    return repr(f"{scheme}{colon}//{text.rpartition('@')[2]}" if colon and "@" in text else text)
