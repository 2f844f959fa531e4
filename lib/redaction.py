"""THE place that says what of an address may be shown: never its user info, its query or its fragment.

Passwords and tokens stand there. Every error of `lib.errors` goes through it, and so must all else that is written of
an address that came from outside.
"""

import re

ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*:/+)(?P<rest>[^\s'\"<>]*)")
QUERY = re.compile(r"\?[^\s'\"<>]*=[^\s'\"<>]*")
"""Of an address without its host, as libraries write them."""
PUNCTUATION = ",;:.)]}"
"""Of the sentence around an address, at its end."""


def without_secrets(text: str) -> str:
    """`text` with each address in it reduced to scheme, host and path."""
    return QUERY.sub("", ADDRESS.sub(_shown, text))


def _shown(address: re.Match[str]) -> str:
    rest = address["rest"]
    shown = rest.rstrip(PUNCTUATION)
    ends = rest[len(shown) :]
    shown = re.split(r"[?#]", shown, maxsplit=1)[0]
    host, slash, path = shown.partition("/")
    return f"{address['scheme']}{host.rpartition('@')[2]}{slash}{path}{ends}"
