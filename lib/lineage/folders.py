"""The folders at the top of a store. What lies beside them is not ours."""

from lib.errors import PermanentError
from lib.lineage.steps import STEPS
from lib.store import LocalStore, Store
from lib.store.probe import PROBES

CHECKPOINTS, RAW, REGISTRY, SOURCES = "checkpoints", "raw", "registry", "sources"


def output_folders() -> list[str]:
    """Those in which outputs lie."""
    return list(dict.fromkeys(step.root for step in STEPS.values()))


def folders() -> list[str]:
    """All that this code writes to."""
    return [*output_folders(), CHECKPOINTS, RAW, REGISTRY, SOURCES, PROBES]


def check_is_store(store: Store) -> None:
    """Raise PermanentError where a folder holds something, and nothing of ours: a home folder, say.

    What is not there yet is an empty store.
    """
    if isinstance(store, LocalStore) and (names := store.names()) and names.isdisjoint(folders()):
        raise PermanentError(
            f"a store must hold one of the folders {', '.join(folders())}; received {store.uri}, which holds none of "
            "them; set STORE_URI or --store to a store"
        )
