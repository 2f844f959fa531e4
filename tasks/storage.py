"""The store that the environment names."""

from lib.settings import read_settings
from lib.store import Store, open_store


def settings_store() -> Store:
    """STORE_URI's store."""
    settings = read_settings()
    return open_store(settings.store_uri, settings.cache_dir)
