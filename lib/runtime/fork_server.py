"""The process from which jobs are forked: `python -m lib.runtime.fork_server FD`, started by `lib.runtime.processes`.

It loads what a step needs as the first job of this step comes: some need no TensorFlow. Of that nothing runs in it:
threads would not live on in a forked process, and a GPU that it had opened would be of no use there. It ends when its
flow has ended and no job is left.
"""

import importlib
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from lib.lineage.steps import STEPS
from lib.runtime.interrupts import stop_signals
from lib.runtime.jobs import FAULT_OF_OURS, Job, run
from lib.runtime.processes import NUMBER

LARGEST_REQUEST = 1 << 20
STOPS = stop_signals()
"""Before any is ignored."""
IMPORTED_LATE = {"evaluation": ["sklearn.metrics"]}
"""What jobs of a step import only as they come to need it."""
Children = dict[int, int]
"""Process id → where its exit code is to be said."""


def serve(control: socket.socket) -> None:
    """Fork a process for each job that comes on `control`, and say how each ended."""
    # A Ctrl-C and the end of a terminal reach the whole process group: they are for the jobs. This process ends after
    # its flow.
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes the selector
    woken, waker = os.pipe()
    for end in (woken, waker):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(waker)
    children: Children = {}
    with selectors.DefaultSelector() as selector:
        selector.register(woken, selectors.EVENT_READ)
        selector.register(control, selectors.EVENT_READ)
        flow_lives = True
        while flow_lives or children:
            for key, _ in selector.select():
                if key.fileobj is control:
                    flow_lives = _fork(control, children)
                    if not flow_lives:
                        selector.unregister(control)
                else:
                    os.read(woken, 1024)
            _reap(children)


def _load(step: str) -> None:
    """What jobs of `step` import; where that fails, each job says so itself."""
    for module in (str(STEPS[step].job).split(":")[0], *IMPORTED_LATE.get(step, ())):
        with suppress(Exception):
            importlib.import_module(module)


def _fork(control: socket.socket, children: Children) -> bool:
    """Start the job that has come; False where there is none, since the flow has ended."""
    data, files, _, _ = socket.recv_fds(control, LARGEST_REQUEST, 4)
    if not data:
        return False
    while not data.endswith(b"\n"):
        data += control.recv(LARGEST_REQUEST)
    *standard, status = files
    job = json.loads(data)
    _load(job["step"])
    if pid := os.fork():
        for each in standard:
            os.close(each)
        children[pid] = status
        os.write(status, NUMBER.pack(pid))
        return True
    code = FAULT_OF_OURS
    try:
        control.close()
        for each in (status, *children.values()):
            os.close(each)
        code = _run(job, standard)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)  # taking TensorFlow down in good order takes more than a second, and is of no use to anyone


def _run(job: dict[str, Any], standard: list[int]) -> int:
    """In the forked process: the job, with these as standard input, output and error."""
    signal.set_wakeup_fd(-1)
    for number in (*STOPS, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    for target, file in enumerate(standard):
        os.dup2(file, target)
        os.close(file)
    with suppress(OSError):
        Path("/proc/self/comm").write_text(f"job-{job['step']}")  # what `ps` and `top` show
    return run(Job.model_validate(job))


def _reap(children: Children) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        where = children.pop(pid)
        with suppress(BrokenPipeError):  # the flow was killed
            os.write(where, NUMBER.pack(os.waitstatus_to_exitcode(status)))
        os.close(where)


if __name__ == "__main__":
    from lib.runtime.fork_server import serve as serve_jobs  # not __main__'s copy: jobs must meet the same classes

    serve_jobs(socket.socket(fileno=int(sys.argv[1])))
    os._exit(0)  # as its jobs do
