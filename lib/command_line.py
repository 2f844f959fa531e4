"""What every command line shares: how it explains itself, exit codes, and the one line that says what went wrong."""

import argparse
import atexit
import os
import shlex
import signal
import sys
import tempfile
import textwrap
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from pydantic import ValidationError

from lib import prefect_settings
from lib.environment_file import file_of, read_env_file
from lib.errors import NoThread, PermanentError, explain_validation, printable
from lib.packages import explain_missing
from lib.redaction import without_secrets
from lib.runtime.failures import CTRL_C, of_exception
from lib.runtime.interrupts import stop_signals
from lib.settings import REPOSITORY, Settings, check_proxies, check_tls, read_settings
from lib.streams import explained, flush, leave, name_standard_output, open_closed_streams, print_error

TERMINATED = 128 + signal.SIGTERM
HUNG_UP = 128 + signal.SIGHUP
NOBODY_READS = 128 + signal.SIGPIPE
EXIT_CODES = {
    0: "done",
    1: "an unexpected error: report its traceback",
    2: "bad input or another permanent error, a retry does not help",
    3: "a temporary error after all retries, such as a server that does not answer",
    4: "some models failed, the others have results",
    HUNG_UP: "its terminal was closed (SIGHUP)",
    CTRL_C: "interrupted (Ctrl-C)",
    NOBODY_READS: "what reads its output has ended, as `| head -1` does",
    TERMINATED: "asked to stop (SIGTERM)",
}
LAST_LINE = "The last line on standard error is the error."
RUN_AGAIN = "run the same command again"
GO_ON = f"{RUN_AGAIN} to go on from the last checkpoint"
"""For commands that train."""

ENV_FILE = REPOSITORY / ".env"
LONGEST_COMPLAINT = 500

_errors: list[tuple[int, str]] = []
"""Exit code and message."""
_go_on: list[str] = []
"""What to do after the command of this process was stopped."""


def begin() -> None:
    """What every command does before it imports anything, so that what imports raise is one line too.

    It reads the environment file, which Prefect and the AWS SDK do not, and checks what all libraries take for granted:
    a current folder, a home, a temporary one, proxies and files of TLS that can be used, and files of Prefect that can
    be read.
    """
    sys.excepthook = _explain_uncaught
    open_closed_streams()
    name_standard_output()
    named = os.environ.get("ENV_FILE")
    if named not in {"", os.devnull} and (named or os.path.lexists(ENV_FILE)):
        read_env_file(Path(named) if named else ENV_FILE)
    _check_folders()
    check_proxies()
    check_tls()
    prefect_settings.hide_values()
    prefect_settings.check_files()


def _check_folders() -> None:
    try:
        Path.cwd()
    except OSError as error:
        raise PermanentError(f"the current folder is gone ({error.strerror}): change to another") from error
    try:
        Path.home()
    except RuntimeError as error:
        raise PermanentError(
            "this user must have a home folder; received a user id without one: set HOME to a folder"
        ) from error
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise PermanentError(
            f"a temporary folder must be there, and writable; set TMPDIR to one, or free space: {error}"
        ) from error


def say_store(store_uri: str) -> None:
    """Print on standard error which store is used, and whether it was the environment file that named it."""
    file = file_of("STORE_URI")
    named = f" (STORE_URI of {file})" if file and store_uri == os.environ.get("STORE_URI") else ""
    address = without_secrets(store_uri) if "://" in store_uri else store_uri
    with explained("standard error", 2):
        print(printable(f"Store: {address}{named}"), file=sys.stderr)


def _explain_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    known: BaseException | None = of_exception("this run", error)
    if said := explain_missing(error):
        known = PermanentError(said)
    elif known is None:
        known = prefect_settings.explain(error)
    if known is None and isinstance(error, ValidationError):
        known = explain_validation(error, error.title)
    if _of_ctrl_c(error):
        known = KeyboardInterrupt("interrupted")
    if known is None:
        sys.__excepthook__(kind, error, traceback)
        return
    end_at_once(str(known), getattr(known, "exit_code", CTRL_C))


def _of_ctrl_c(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind it: pydantic makes an error of its own of one that comes while it works."""
    seen = list[BaseException]()
    while error and error not in seen:
        if isinstance(error, KeyboardInterrupt) or "KeyboardInterrupt" in str(error):
            return True
        seen.append(error)
        error = error.__cause__ or error.__context__
    return False


def end_at_once(message: str, code: int) -> None:
    """End this process with `code` from any thread, the error being the last line; nothing is tidied up."""
    with suppress(OSError, ValueError, PermanentError):
        print(end="", flush=True)
    print_error(message)
    os._exit(code)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        cut = "…" if len(message) > LONGEST_COMPLAINT else ""
        super().error(printable(message[:LONGEST_COMPLAINT]) + cut)

    def print_help(self, file: Any = None) -> None:
        """As argparse does it, but that an output that cannot be written is an error."""
        print(self.format_help(), end="", file=file)


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that explains the command by `description`, and the exit codes."""
    codes = "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())
    module = getattr(sys.modules["__main__"], "__spec__", None)
    return _Parser(
        prog=f"python -m {module.name}" if module else None,
        description=description,
        epilog=textwrap.fill(f"exit codes: {codes}. {LAST_LINE}", 110),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_store_option(options: argparse.ArgumentParser) -> None:
    options.add_argument(
        "--store",
        metavar="URI",
        help="a folder or s3://bucket/prefix (default: STORE_URI, or .store)",
    )


def resolved(path: Path, option: str) -> Path:
    """`path` without links. Raises PermanentError that names the `option` where they lead in a circle."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise PermanentError(f"{option} must be a path that leads somewhere; received {path}: {error}") from error


def settings_of(chosen: argparse.Namespace, **changes: Any) -> Settings:
    """The environment's settings, with the store that was chosen and other `changes`."""
    if chosen.store is not None:
        changes["store_uri"] = chosen.store
    return read_settings().model_copy(update=changes)


def how_to_go_on() -> str:
    """What to do where something else than its own error ends the command of this process."""
    return _go_on[-1] if _go_on else RUN_AGAIN


def this_python() -> str:
    """The Python that runs this, as a person here would type it: the system's has none of our packages."""
    path = Path(sys.executable)
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def main_of(command: Callable[[], None], go_on: str = RUN_AGAIN) -> NoReturn:
    """Run `command` and exit with the code its errors ask for, the error being the last line on standard error.

    `go_on` says what to do after it was stopped.
    """
    _go_on.append(go_on)
    atexit.register(_end_with_error)  # first, so that it runs last: a server that ends says so too
    signal.signal(signal.SIGTERM, lambda *_: _exit(TERMINATED, f"asked to stop; {go_on}"))
    if signal.SIGHUP in stop_signals():
        signal.signal(signal.SIGHUP, lambda *_: _exit(HUNG_UP, f"the terminal was closed; {go_on}"))
    try:
        try:
            command()
        finally:
            flush()
    except (BrokenPipeError, SystemExit) as error:
        if not isinstance(error, BrokenPipeError) and not isinstance(error.__context__, BrokenPipeError):
            raise
        # rich, which writes Prefect's log, makes a SystemExit of it. Nobody may read what is said from here on.
        for number in (1, 2):
            leave(number)
        sys.exit(NOBODY_READS)
    except KeyboardInterrupt:
        _exit(CTRL_C, f"interrupted; {go_on}")
    except Exception as error:
        if _of_ctrl_c(error):
            _exit(CTRL_C, f"interrupted; {go_on}")
        known = of_exception("this run", error) or prefect_settings.explain(error)
        if known is None:
            raise
        if isinstance(known, NoThread):
            end_at_once(str(known), known.exit_code)
        _exit(known.exit_code, str(known))
    sys.exit(0)


def _exit(code: int, message: str) -> NoReturn:
    _errors.append((code, message))
    sys.exit(code)


def _end_with_error() -> None:
    if _errors:
        code, message = _errors[-1]
        # Python would go on to end threads that are at work, where native code may abort with a line of its own.
        end_at_once(message, code)
