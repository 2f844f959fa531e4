"""Which code is deployed."""

from lib.lineage.provenance import code
from lib.settings import read_settings

UNKNOWN = "unknown"


def code_version() -> tuple[str, str]:
    """This code's commit, `-dirty` where files differ from it; or `unknown` and why git does not say."""
    commit, changes, problem = code()
    if commit:
        return f"{commit[:12]}{'-dirty' if changes else ''}", ""
    if commit := read_settings().image_commit:
        return commit[:12], ""
    return UNKNOWN, problem
