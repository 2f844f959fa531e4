"""A Prefect worker that ends after what it has started: `python -m deployments.worker --pool cpu --limit 1`.

Asked to stop (SIGTERM, Ctrl-C), Prefect's own worker is gone in a moment, and the trainings it leaves behind need up to
30 s to save their state: a container, or a supervisor, that ends with the worker would kill them. This one waits for
them. All arguments are those of `prefect worker start`. For Linux.
"""

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

DIES_WITH_PARENT, ADOPTS_ORPHANS = 1, 36
"""PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER of <linux/prctl.h>."""


def main(arguments: list[str]) -> int:
    """Run the worker; returns its exit code, once nothing is left of what it has started if it was asked to stop."""
    _tell_kernel(ADOPTS_ORPHANS, 1)
    asked: list[int] = []
    worker: int | None = None

    def stop(number: int, _: object) -> None:
        asked.append(number)
        if worker and len(asked) == 1:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    worker = subprocess.Popen(
        [Path(sys.executable).with_name("prefect"), "worker", "start", "--type", "process", *arguments],
        process_group=0,  # a Ctrl-C reaches it through us alone: of two, the second would count as impatience
        preexec_fn=lambda: _tell_kernel(DIES_WITH_PARENT, signal.SIGTERM),  # noqa: PLW1509 - no other thread runs yet
    ).pid
    if asked:
        os.kill(worker, signal.SIGTERM)
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
    sys.exit(main(sys.argv[1:]))
