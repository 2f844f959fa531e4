"""Settings and store of the run under way: those of its command line, or the environment's."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from lib.settings import Settings, read_settings
from lib.store import Store, open_store

_chosen: ContextVar[Settings | None] = ContextVar("settings", default=None)


@contextmanager
def using(settings: Settings) -> Iterator[None]:
    """Flows and tasks that run within use `settings` in place of the environment's."""
    token = _chosen.set(settings)
    try:
        yield
    finally:
        _chosen.reset(token)


def current_settings() -> Settings:
    """The command line's, or those of the environment as it is now."""
    return _chosen.get() or read_settings()


def current_store() -> Store:
    """The store that the settings name."""
    settings = current_settings()
    return open_store(settings.store_uri, settings.cache_dir)
