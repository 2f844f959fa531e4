"""What a temporary server has, whatever is set for another one: most settings of servers are for one that stays."""

import os
from collections.abc import Iterator
from typing import Any

from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, get_current_settings
from pydantic_settings import BaseSettings

KEPT = (
    "server.analytics_enabled",
    "server.database.",
    "server.ephemeral.",
    "server.events.retention_period",
    "server.logging_level",
    "server.memo_store_path",
    "server.services.db_vacuum.",
)
"""How names of settings begin that count for it too: of the database, which it may share, and of what stays in that."""
MIGRATES = "server.database.migrate_on_start"
"""A file is new at first, and nobody migrates it by hand; a database of several servers somebody may."""
ALWAYS = {
    "PREFECT_SERVER_UI_ENABLED": "0",
    "PREFECT_SERVER_API_BASE_PATH": "/api",  # where this process looks for it
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT__SERVER_WEBSERVER_ONLY": "",
}
OF_EVENTS = "PREFECT_SERVER_EVENTS_"
"""Variables that Prefect's client reads too: it refuses events that the server would refuse."""


def environment_of_server() -> dict[str, str]:
    """The variables of its process: those of this one, but for what is set aside, be it set in a file or a profile."""
    told = get_current_settings()
    set_aside: list[Any] = [name for name in _names(type(told.server), "server.") if not name.startswith(KEPT)]
    if PREFECT_API_DATABASE_CONNECTION_URL.value().startswith("sqlite"):
        set_aside.append(MIGRATES)
    settings = told.copy_with_update(restore_defaults=set_aside)
    return {**os.environ, **settings.to_environment_variables(exclude_unset=True), **ALWAYS}


def _names(group: type[BaseSettings], before: str) -> Iterator[str]:
    """Of all settings in a group of Prefect's, such as `server.api.host`."""
    for name, field in group.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseSettings):
            yield from _names(field.annotation, f"{before}{name}.")
        else:
            yield f"{before}{name}"
