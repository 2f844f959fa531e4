"""The file of variables that every command reads, and which of them came from it."""

import os
from io import StringIO
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from lib.errors import PermanentError, TooLarge
from lib.files import read_regular

LARGEST_BYTES = 1 << 20

_from_file: dict[str, Path] = {}


def read_env_file(file: Path) -> None:
    """Set the variables that `file` names and the environment does not. Values are taken as they are."""
    for name, line in _lines_of(file).items():
        if name not in os.environ:
            try:
                os.environ[name] = line.value or ""
            except ValueError as error:
                raise PermanentError(
                    f"{file} must have lines as NAME=VALUE; line {line.original.line}: {error}"
                ) from error
            _from_file[name] = file


def _lines_of(file: Path) -> dict[str, Binding]:
    """The line that sets each variable; of two that differ, programs that read such files take either."""
    try:
        text = read_regular(file, LARGEST_BYTES).decode()
        lines = list(parse_stream(StringIO(text, newline=None)))
    except TooLarge as error:
        raise PermanentError(
            f"ENV_FILE must name a file of at most {LARGEST_BYTES:,} bytes; {file} has more"
        ) from error
    except (OSError, UnicodeDecodeError, PermanentError) as error:
        raise PermanentError(f"ENV_FILE must name a file that can be read; received {file}: {error}") from error
    found: dict[str, Binding] = {}
    for line in lines:
        number = line.original.line
        if line.error or (line.key and line.value is None):
            raise PermanentError(f"{file} must have lines as NAME=VALUE; received line {number}")
        if line.key and (before := found.setdefault(line.key, line)).value != line.value:
            raise PermanentError(
                f"{file} must give each variable one value; received two of {line.key}, in lines "
                f"{before.original.line} and {number}: remove one"
            )
    return found


def file_of(name: str) -> Path | None:
    """The file that set the variable; None where the environment did, or nothing."""
    return _from_file.get(name)


def how_to_unset(name: str) -> str:
    """What a person does so that the variable is not set: `unset` in a terminal does not change a file."""
    file = file_of(name)
    return f"remove {name} from {file}" if file else f"unset {name}"
