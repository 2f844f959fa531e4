"""Where a setting of Prefect's comes from: who is told to take it back must know where to."""

import os
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from prefect.context import get_settings_context
from prefect.settings import Settings
from prefect.settings.legacy import Setting

from lib.environment_file import file_of

TABLES: dict[str, tuple[str, ...]] = {"prefect.toml": (), "pyproject.toml": ("tool", "prefect")}
"""Files in the current folder that Prefect reads, and where in them its settings are."""


def place_of(setting: Setting) -> str:
    """The file or profile that sets it, by the order in which Prefect looks; empty for the terminal's variable."""
    return _found(setting)[0]


def name_of(setting: Setting) -> str:
    """Its variable, by the name under which it is set: some have two."""
    return next((name for name in _names(setting) if name in os.environ), setting.name)


def how_to_unset(setting: Setting) -> str:
    """What a person does so that it has its default."""
    place, name = _found(setting)
    if place.startswith("the profile "):
        return f"prefect config unset {name}"
    return f"remove {name} from {place}" if place else f"unset {name}"


def _found(setting: Setting) -> tuple[str, str]:
    """The place as `place_of` says it, and the name that the setting has there."""
    for name in _names(setting):
        if name in os.environ:
            return str(file_of(name) or ""), name
    with suppress(OSError, ValueError):
        told = dotenv_values(".env")
        for name in _names(setting):
            if name in told:
                return str(Path(".env").absolute()), name
    for file, table in TABLES.items():
        if _is_set(Path(file), (*table, *setting.accessor.split("."))):
            return str(Path(file).absolute()), setting.accessor
    profile = get_settings_context().profile
    return (f"the profile {profile.name}" if setting in profile.settings else ""), setting.name


def _names(setting: Setting) -> list[str]:
    """Its variables, the one that Prefect looks for first at the front."""
    *groups, field = setting.accessor.split(".")
    model: Any = Settings
    for group in groups:
        model = model.model_fields[group].annotation
    choices = getattr(model.model_fields[field].validation_alias, "choices", ())
    return [name.upper() for name in choices if isinstance(name, str)] or [setting.name]


def _is_set(file: Path, keys: tuple[str, ...]) -> bool:
    try:
        told: Any = tomllib.loads(file.read_text())
        for key in keys:
            told = told[key]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True
