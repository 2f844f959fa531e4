"""How the command lines of the flows begin and end."""

import argparse
import logging
import sys
from collections.abc import Callable
from typing import NoReturn

import httpx

from lib import command_line
from lib.errors import PermanentError, one_line
from lib.lineage.provenance import code
from lib.runtime.failures import of_exception
from lib.runtime.hardware import require_clock, require_threads
from lib.settings import Settings, read_settings
from lib.store import Store, open_store
from lib.store.probe import require_answer, require_promises


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
    """The environment's settings, changed by the options that were given. Says which store that is."""
    changes = {"allow_cpu": True} if getattr(chosen, "allow_cpu", False) else {}
    settings = command_line.settings_of(chosen, **changes)
    command_line.say_store(settings.store_uri)
    return settings


def reach_store(settings: Settings) -> Store:
    """The store that the settings name. Raises within half a minute where it is a server that does not answer."""
    store = open_store(settings.store_uri, settings.cache_dir)
    require_answer(store)
    return store


def check_ready(store: Store) -> None:
    """Raise, within half a minute, where a run lacks what it needs: it is called before the run makes anything."""
    require_clock()
    require_threads()
    require_promises(store)
    if (problem := code().problem) and not read_settings().image_commit:
        print(f"note: outputs will not name the code that made them: {problem}", file=sys.stderr)
    from tasks.server import require_server  # not before: what is done already is told without a server

    require_server()


def main_of(command: Callable[[], None], go_on: str) -> NoReturn:
    """Run `command`, which runs flows or asks the Prefect server, and exit as all our commands do.

    `go_on` says what to do after it was stopped.
    """
    command_line.main_of(lambda: _checked(command, go_on), go_on)


def _checked(command: Callable[[], None], go_on: str) -> None:
    from tasks.outages import watch_calls

    watch_calls(go_on)
    logging.raiseExceptions = False  # of logs that do not reach the server Prefect would write half a line
    try:
        command()
    except (RuntimeError, ValueError, httpx.HTTPError) as error:
        from prefect.exceptions import ParameterTypeError

        from tasks.server import explain

        if isinstance(error, ParameterTypeError):
            raise PermanentError(one_line(error)) from error
        if known := of_exception("this run", error):
            raise known from error
        if known := explain(error):
            raise type(known)(f"{known}; {go_on}") from error
        raise
