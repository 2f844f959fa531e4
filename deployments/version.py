"""Which code is deployed, as git tells it."""

import os
import subprocess

from lib.settings import REPOSITORY, read_settings

UNKNOWN = "unknown"


def code_version() -> tuple[str, str]:
    """This code's commit, `-dirty` where files differ from it; or `unknown` and why git does not say."""
    # git looks in the folders above too: a repository around this one is not this code's.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(REPOSITORY.parent), "LC_ALL": "C"}
    git = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(git, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        why = f"git cannot be run: {error.strerror}"
    else:
        if done.returncode == 0:
            return done.stdout.strip(), ""
        why = " ".join(done.stderr.split())
    if commit := read_settings().image_commit:
        return commit[:12], ""
    return UNKNOWN, f"{why}; or set IMAGE_COMMIT"
