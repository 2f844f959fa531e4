"""The file that says how to reach a trial installation, while it runs: variables with its keys and password."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lib.environment_file import LARGEST_BYTES
from lib.errors import PermanentError
from lib.files import read_regular, write_private

HEADER = "# Written by `make stack`, removed when it ends: how to reach it.\n"


@contextmanager
def env_file(file: Path, variables: Callable[[], Mapping[str, str]]) -> Iterator[None]:
    """`file` with `variables`, which are asked for once it is known that it can be written; gone afterwards.

    Raises PermanentError where it is another's, an empty one too.
    """
    if os.path.lexists(file) and not read_regular(file, LARGEST_BYTES).startswith(HEADER.encode()):
        raise PermanentError(f"{file} must be free for the stack's own; it is another's: move it")
    try:
        write_private(file, HEADER)
    except OSError as error:
        raise PermanentError(
            f"--env-file must name a file that can be written; received {file}: {error.strerror}"
        ) from error
    try:
        write_private(file, HEADER + "".join(f"{name}={value}\n" for name, value in variables().items()))
        yield
    finally:
        file.unlink(missing_ok=True)
