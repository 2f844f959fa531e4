"""What can go wrong, by what a caller should do about it. The exit codes are part of the command line's promise."""

import re
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticUndefined

from lib.redaction import without_secrets

NO_TLS = re.compile("WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE")
"""What OpenSSL says where a server answers in plain HTTP."""
LONGEST_INPUT = 100
LONGEST_CAUSE = 200
MOST_PROBLEMS = 5


class PipelineError(Exception):
    """An error a person can act on. Its message is one line: the rule, what came, what to do.

    What may be a secret in an address is left out of it.
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(without_secrets(message)))


class PermanentError(PipelineError):
    """Trying again gives the same result: bad input, a denied bucket, a digest that does not match."""

    exit_code = 2


class LeftOut(PermanentError):
    """The recipe needs something optional that is not here; the others are trained without it."""


class NoGpu(LeftOut):
    """The recipe runs on a GPU and the machine has none that can be used."""


class NotFound(PermanentError):
    """Nothing lies at this path of the store."""


class InTheWay(NotFound):
    """What lies there is no regular file."""


class TooLarge(PermanentError):
    """What lies there has more bytes than it may have."""


class NoThread(PermanentError):
    """No thread or process can be started: a process that tidies up needs some, and may crash for want of them."""


class TransientError(PipelineError):
    """Trying again may help: the network, a busy server, a killed process."""

    exit_code = 3


class SomeModelsFailed(PipelineError):
    """The other models have their results, in `report` (a Ref); the message names those that failed and why."""

    exit_code = 4

    def __init__(self, message: str = "", report: Any = None) -> None:
        super().__init__(message)
        self.report = report


def explain_validation(error: ValidationError, what: str, secrets: re.Pattern[str] | None = None) -> PermanentError:
    """Say a pydantic error on one line, as `learning_rate must be greater than 0; received -1`.

    What fields hold in whose names `secrets` is found is not shown.
    """
    problems = []
    for each in problems_of(error)[:MOST_PROBLEMS]:
        rule = each["msg"].removeprefix("Value error, ")
        place = shortened(".".join(map(str, each["loc"])))
        received = "what is not shown" if secrets and secrets.search(place) else shortened(repr(each["input"]))
        problems.append(f"{place}: {rule}; received {received}" if place else rule)
    return PermanentError(f"{what} is not valid: {'; '.join(problems)}")


def problems_of(error: ValidationError) -> list[ErrorDetails]:
    """Without those that only follow from the others: of a default that could not be worked out."""
    return [each for each in error.errors() if each["input"] is not PydanticUndefined] or error.errors()


def printable(text: str) -> str:
    """On one line, and without what a terminal would obey: escape sequences, overstrikes, other directions."""
    return "".join(each if each.isprintable() else _shown(each) for each in text)


def _shown(character: str) -> str:
    return " " if character.isspace() else character.encode("unicode_escape").decode()


def one_line(error: BaseException) -> str:
    """What it says, on one line."""
    return " ".join(str(error).split())


def cause(error: Exception) -> str:
    """What a library raised, by its name, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_CAUSE]


def shortened(text: str) -> str:
    """On one line, at a length that a person reads."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= LONGEST_INPUT else f"{line[:LONGEST_INPUT]}…"


def counted(number: int, what: str) -> str:
    """`1 class`, `2 classes`."""
    plural = f"{what}es" if what.endswith("s") else f"{what}s"
    return f"{number:,} {what if number == 1 else plural}"
