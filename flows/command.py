"""How the command lines of the flows begin and end."""

import argparse
from collections.abc import Callable
from typing import NoReturn

from lib import command_line
from lib.errors import PermanentError, TransientError
from lib.settings import Settings


def add_place_options(options: argparse.ArgumentParser, hardware: bool = False) -> None:
    """Options for settings: where the store is and, with `hardware`, what to do without a GPU."""
    command_line.add_store_option(options)
    if hardware:
        options.add_argument(
            "--allow-cpu",
            action="store_true",
            help="train GPU recipes on the CPU if there is no GPU, slowly (default: ALLOW_CPU)",
        )


def settings_of(chosen: argparse.Namespace) -> Settings:
    """The environment's settings, changed by the options that were given."""
    changes = {"allow_cpu": True} if getattr(chosen, "allow_cpu", False) else {}
    return command_line.settings_of(chosen, **changes)


def main_of(command: Callable[[], None]) -> NoReturn:
    """Run `command`, which runs flows, and exit as all our commands do."""
    command_line.main_of(lambda: _checked(command))


def _checked(command: Callable[[], None]) -> None:
    try:
        command()
    except RuntimeError as error:
        if "Failed to reach API" not in str(error):
            raise
        raise TransientError(
            f"the Prefect server cannot be reached: {' '.join(str(error).split())}; start it, or run without one: "
            "unset PREFECT_API_URL, and remove an .env file that a stack has left behind"
        ) from error
    except ValueError as error:
        from prefect.exceptions import ParameterTypeError

        if not isinstance(error, ParameterTypeError):
            raise
        raise PermanentError(" ".join(str(error).split())) from error
