"""Where a setting of Prefect's comes from: who is told to take it back must know where to."""

import os
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from prefect.context import get_settings_context
from prefect.settings.legacy import Setting

from lib.environment_file import file_of

TABLES: dict[str, tuple[str, ...]] = {"prefect.toml": (), "pyproject.toml": ("tool", "prefect")}
"""Files in the current folder that Prefect reads, and where in them its settings are."""


def place_of(setting: Setting) -> str:
    """The file or profile that sets it, by the order in which Prefect looks; empty for the terminal's variable."""
    if setting.name in os.environ:
        return str(file_of(setting.name) or "")
    with suppress(OSError, ValueError):
        if setting.name in dotenv_values(".env"):
            return str(Path(".env").absolute())
    for file, table in TABLES.items():
        if _is_set(Path(file), (*table, *setting.accessor.split("."))):
            return str(Path(file).absolute())
    profile = get_settings_context().profile
    return f"the profile {profile.name}" if setting in profile.settings else ""


def how_to_unset(setting: Setting) -> str:
    """What a person does so that it has its default."""
    place = place_of(setting)
    if place.startswith("the profile "):
        return f"prefect config unset {setting.name}"
    key = setting.accessor if place.endswith(".toml") else setting.name
    return f"remove {key} from {place}" if place else f"unset {key}"


def _is_set(file: Path, keys: tuple[str, ...]) -> bool:
    try:
        told: Any = tomllib.loads(file.read_text())
        for key in keys:
            told = told[key]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True
