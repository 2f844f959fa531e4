"""What every command line shares: how it explains itself, exit codes, and the one line that says what went wrong."""

import argparse
import atexit
import signal
import sys
import textwrap
from collections.abc import Callable
from typing import Any, NoReturn

from lib.errors import PipelineError
from lib.runtime.failures import CTRL_C, of_exception
from lib.settings import Settings, read_settings

TERMINATED = 128 + signal.SIGTERM
EXIT_CODES = {
    0: "done",
    2: "bad input or another permanent error, a retry does not help",
    3: "a temporary error after all retries, such as a server that does not answer",
    4: "some models failed, the others have results",
    CTRL_C: "interrupted (Ctrl-C)",
    TERMINATED: "asked to stop (SIGTERM)",
}
LAST_LINE = "The last line on standard error is the error."
GO_ON = "run the same command again to go on from the last checkpoint"

_errors: list[str] = []


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that explains the command by `description`, and the exit codes."""
    codes = "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())
    module = getattr(sys.modules["__main__"], "__spec__", None)
    return argparse.ArgumentParser(
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


def settings_of(chosen: argparse.Namespace, **changes: Any) -> Settings:
    """The environment's settings, with the store that was chosen and other `changes`."""
    if chosen.store is not None:
        changes["store_uri"] = chosen.store
    return read_settings().model_copy(update=changes)


def main_of(command: Callable[[], None]) -> NoReturn:
    """Run `command` and exit with the code its errors ask for, the error being the last line on standard error."""
    atexit.register(_say_error)  # first, so that it runs last: a server that ends says so too
    signal.signal(signal.SIGTERM, lambda *_: _exit(TERMINATED, f"asked to stop; {GO_ON}"))
    try:
        command()
    except KeyboardInterrupt:
        _exit(CTRL_C, f"interrupted; {GO_ON}")
    except PipelineError as error:
        _exit(error.exit_code, str(error))
    except Exception as error:
        known = of_exception("this run", error)
        if known is None:
            raise
        _exit(known.exit_code, str(known))
    sys.exit(0)


def _exit(code: int, message: str) -> NoReturn:
    _errors.append(message)
    sys.exit(code)


def _say_error() -> None:
    if _errors:
        sys.stdout.flush()
        print(f"error: {_errors[-1]}", file=sys.stderr)
