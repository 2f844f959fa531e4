"""Programs that packages bring along."""

import shutil
import sys
from pathlib import Path

from lib.errors import PermanentError


def program(name: str) -> str:
    """The path of a program beside this Python. Raises PermanentError where it cannot be run."""
    path = str(Path(sys.executable).with_name(name))
    if not shutil.which(path):
        raise PermanentError(
            f"the program {name} must be beside {sys.executable}; it cannot be run: make the environment anew (make "
            "setup; for a trial stack make develop)"
        )
    return path
