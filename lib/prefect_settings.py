"""Where Prefect's settings stand. It reads them as it is imported, so what is wrong there is told without Prefect."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from traceback import extract_tb

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from lib.environment_file import file_of
from lib.errors import PermanentError, explain_validation, problems_of
from lib.files import check_regular, read_regular

LARGEST_BYTES = 1 << 20
IN_THIS_FOLDER = ("prefect.toml", "pyproject.toml", ".env")
HOME = "PREFECT_HOME (~/.prefect)"
EVERYWHERE = (
    f"variables that begin with PREFECT_, profiles.toml in {HOME}, and {', '.join(IN_THIS_FOLDER)} in this folder"
)
OF_LOGGING = f"PREFECT_LOGGING_SETTINGS_PATH, or logging.yml in {HOME}"
READERS = {
    r"/prefect/settings/(?!context\.py:temporary_settings)": EVERYWHERE,
    r"/prefect/logging/configuration\.py": OF_LOGGING,
    r"/prefect/results\.py:_?get_default_result_": "PREFECT_RESULTS_DEFAULT_SERIALIZER and "
    "PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK",
}
"""Prefect's code that reads settings, as `file:function`, and where they are."""
SECRETS = re.compile("key|password|auth_string|headers|connection_url")


def hide_values() -> None:
    """Have Prefect, once it is loaded, print no values of wrong settings: they may be secrets."""
    BaseSettings.model_config["hide_input_in_errors"] = True


def check_files() -> None:
    """Raise PermanentError where Prefect would wait for ever for one of its files: a FIFO that nobody writes.

    Also where its logging has no settings: that error is lost, and Python says that Prefect lacks a name.
    """
    logging = _file_of_logging()
    for file in (*_files(), logging):
        with suppress(OSError):  # Prefect says so of a file that cannot be read
            if file.exists() and not file.is_dir() and not file.samefile(os.devnull):
                check_regular(file)
    with suppress(OSError):
        if logging.is_file():
            _check_logging(logging)


def _check_logging(file: Path) -> None:
    import yaml  # which takes a while, and is needed only here

    with suppress(UnicodeDecodeError, yaml.YAMLError):  # Prefect says so
        found = yaml.safe_load(read_regular(file, LARGEST_BYTES))
        if not isinstance(found, dict):
            raise PermanentError(
                f"{file} must be a YAML mapping of settings for Python's logging; received {type(found).__name__}; "
                f"mend it, or remove it: Prefect reads it for {OF_LOGGING}"
            )


def explain(error: BaseException) -> PermanentError | None:
    """What an error means that Prefect met as it read its settings; None for others."""
    frames = [f"{frame.filename}:{frame.name}" for frame in extract_tb(error.__traceback__)]
    for code, places in READERS.items():
        if any(re.search(code, frame) for frame in frames):
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            if isinstance(error, ValidationError):
                said = str(explain_validation(error, error.title, SECRETS))
            found = ", ".join(dict.fromkeys(_places_of(error))) if places == EVERYWHERE else ""
            return PermanentError(
                f"Prefect must be able to read its settings; received {said}; check {found or places}"
            )
    return None


def _places_of(error: BaseException) -> Iterator[str]:
    """Variables and files that give the value which is refused to a field of that name."""
    for field, value in _refused(error):
        variable = f"PREFECT_(.+_)?{field}"
        for name, text in os.environ.items():
            if re.fullmatch(variable, name, re.IGNORECASE) and value in {None, text}:
                yield f"{name} of {file}" if (file := file_of(name)) else name
        rest = "" if value is None else rf"""["']?{re.escape(value)}["']?\s*(#.*)?$"""
        line = re.compile(rf"""^\s*(export\s+)?["']?({variable}|([\w.]+\.)?{field})["']?\s*=\s*{rest}""", re.I | re.M)
        for file in _files():
            with suppress(OSError, UnicodeDecodeError, PermanentError):
                if line.search(read_regular(file, LARGEST_BYTES).decode()):
                    yield str(file)


def _refused(error: BaseException) -> Iterator[tuple[str, str | None]]:
    """Field and value; no value where a library does not say it."""
    if isinstance(error, ValidationError):
        yield from ((str(each["loc"][0]), str(each["input"])) for each in problems_of(error) if each["loc"])
    elif named := re.search(r'value for field "(\w+)" from', str(error)):
        yield named[1], None


def _files() -> list[Path]:
    profiles = os.environ.get("PREFECT_PROFILES_PATH")
    return [
        Path(profiles) if profiles else _home() / "profiles.toml",
        *(Path(name).absolute() for name in IN_THIS_FOLDER),
    ]


def _file_of_logging() -> Path:
    names = ("PREFECT_LOGGING_CONFIG_PATH", "PREFECT_LOGGING_SETTINGS_PATH")
    return next((Path(os.environ[name]) for name in names if os.environ.get(name)), _home() / "logging.yml")


def _home() -> Path:
    try:
        return Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    except RuntimeError:  # this user has none
        return Path(".prefect")
