"""A Prefect worker that stops only after its trainings: `python -m deployments.worker --pool cpu --limit 1`.

When Prefect's own worker is asked to stop (SIGTERM, Ctrl-C), it ends at once. Its trainings need up to 30 s more to
save their state, and a container or supervisor that ends with the worker would kill them. This worker waits for them.
It ends at once, with exit code 2 or 3, if no Prefect server serves it. It passes all its options on to `prefect worker
start --type process`, also those not listed here. It needs Linux.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from deployments.programs import program
from lib.command_line import TERMINATED, end_at_once, main_of
from lib.runtime.interrupts import stop_signals

TEMPLATE = Path(__file__).with_name("base-job-template.json")
"""What a run may ask of its worker: nothing. Prefect's default lets it name a shell command and variables."""
SETTINGS = {
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # seconds: `deployments.automations` counts as crashed what is silent
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",  # a server whose database is away or overloaded answers so
}
OF_ALL_LOGGERS, WITHOUT_SECRETS = "PREFECT_LOGGING_ROOT_LEVEL", {"WARNING", "ERROR", "CRITICAL"}
"""At other levels libraries of Prefect's programs log the server's password; those programs do not load our code."""
AGAIN = "start the worker again"
_TEMPLATE = ("--base-job-template", str(TEMPLATE))
DIES_WITH_PARENT, ADOPTS_ORPHANS = 1, 36
"""PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER of <linux/prctl.h>."""


def make_parser() -> argparse.ArgumentParser:
    """It explains and checks the options that matter here; Prefect reads them, and has more."""
    options = argparse.ArgumentParser(
        prog="python -m deployments.worker",
        usage="%(prog)s --pool NAME [--limit N] [--name NAME] [any option of prefect worker start]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    options.add_argument(
        "--pool",
        "-p",
        required=True,
        type=_name,
        metavar="NAME",
        help="take runs from this work pool: flows, cpu or gpu",
    )
    options.add_argument(
        "--limit", "-l", type=_limit, metavar="N", help="execute at most N runs at once (default: no limit)"
    )
    options.add_argument("--name", metavar="NAME", help="name in the Prefect UI (default: Prefect makes one)")
    return options


def _name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("must name a work pool; received nothing: give it flows, cpu or gpu")
    return text


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1; received {text!r}")
    return int(text)


def command(arguments: list[str]) -> int:
    """`main`, after our own help where help is asked for: Prefect's follows."""
    if not {"-h", "--help"} & set(arguments):
        make_parser().parse_known_args(arguments)  # Prefect would take some for none, and raise on others
        return main(arguments)
    print(f"{make_parser().format_help()}\nThe help of prefect worker start:", flush=True)
    return main(arguments, asks_server=False)


def main(arguments: list[str], asks_server: bool = True) -> int:
    """Run the worker; returns its exit code, once nothing is left of what it has started if it was asked to stop.

    Before, ask the Prefect server: of one that does not serve it, Prefect's worker says a traceback.
    """
    _tell_kernel(ADOPTS_ORPHANS, 1)
    asked: list[int] = []
    child: int | None = None

    def stop(number: int, _: object) -> None:
        asked.append(number)
        if child and len(asked) == 1:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    for number in stop_signals():
        signal.signal(number, stop)
    if asks_server:
        child = _start_asking()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        child = None
        if code or asked:
            return code
    child = _start_worker(arguments)
    if asked:
        os.kill(child, signal.SIGTERM)
    return _wait_for(child, asked)


def _start_asking() -> int:
    """A process that asks the server and ends as our commands do: what it loads is not kept beside the worker."""
    child = os.fork()
    if not child:
        _tell_kernel(DIES_WITH_PARENT, signal.SIGTERM)
        os.setpgid(0, 0)  # a Ctrl-C reaches it through its parent alone, as it does the worker
        main_of(_ask_server, AGAIN)
    return child


def _ask_server() -> None:
    # At once: the thread that asks may be where Python's own end would abort it, with a line after ours.
    signal.signal(signal.SIGTERM, lambda *_: end_at_once(f"asked to stop; {AGAIN}", TERMINATED))
    from tasks.server import ask_server, require_address  # which takes a second

    require_address()
    ask_server(can_do_without=False)


def _start_worker(arguments: list[str]) -> int:
    environment = {**SETTINGS, **os.environ}
    if environment.get(OF_ALL_LOGGERS) not in WITHOUT_SECRETS:
        environment.pop(OF_ALL_LOGGERS, None)
    return subprocess.Popen(
        [program("prefect"), "worker", "start", "--type", "process", *_TEMPLATE, *arguments],
        env=environment,
        process_group=0,  # a Ctrl-C reaches it through us alone: of two, the second would count as impatience
        preexec_fn=lambda: _tell_kernel(DIES_WITH_PARENT, signal.SIGTERM),  # noqa: PLW1509 - no other thread runs yet
    ).pid


def _wait_for(worker: int, asked: list[int]) -> int:
    """Until the worker ends and, where it was asked to, all that it has started; its exit code."""
    code = None
    while code is None or asked:
        try:
            ended, status = os.wait()
        except ChildProcessError:
            break
        if ended == worker:
            code = os.waitstatus_to_exitcode(status)
    return code or 0


def _tell_kernel(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(command(sys.argv[1:]))
