"""THE table of failures: what ended a step, and whether trying again may help.

A failure is permanent (fails at once) or transient (tried again after the delays of RETRY_DELAYS_S, from the last
checkpoint). An error of `lib.errors` says itself which it is; the table is for all that is none of ours. Ctrl-C and
cancelling are no failures and are never tried again.
"""

import re
import resource
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from pathlib import Path

from lib.errors import LONGEST_CAUSE, NoThread, PermanentError, PipelineError, TransientError
from lib.files import NO_SPACE

ASKED_TO_STOP = 75  # sysexits.h: a temporary failure; the user is invited to retry
CTRL_C = 130


@dataclass(frozen=True)
class Verdict:
    """What a step's end counts as, and what is said: `{step}` is what ended, `{detail}` all that is known besides."""

    error: type[PipelineError]
    message: str


OUT_OF_MEMORY = Verdict(PermanentError, "{step} ran out of memory{detail}; {advice}")
DISK_FULL = Verdict(PermanentError, "{step} could not write{detail}; free space, or set TMPDIR")
NO_THREAD = Verdict(NoThread, "{step} could not start a thread or a process{detail}; {advice}")
KILLED = Verdict(TransientError, "{step} was killed by {detail}; run again to go on there")
FAULT = Verdict(PermanentError, "{step} ended with {detail}")

EXCEPTIONS = {
    "MemoryError": OUT_OF_MEMORY,
    "bad_alloc": OUT_OF_MEMORY,  # C++'s, on its way to SIGABRT
    "ResourceExhaustedError": OUT_OF_MEMORY,  # TensorFlow's
}
NO_THREAD_WORDS = ("can't start new thread", "pthread_create", "Resource temporarily unavailable")
"""Python's, TensorFlow's and OpenBLAS's, and the system's own: no class and no signal tells it apart."""
ERRNOS = dict.fromkeys(NO_SPACE, DISK_FULL)
NO_SPACE_OF_SQLITE = {"SQLITE_FULL", "SQLITE_IOERR_WRITE"}
"""Of temporary databases; the second one stands for a quota and a limit of files' sizes too. Named, as sqlite3 reads
TMPDIR when it is imported, and this module is there before .env, which may set it.
"""
EXIT_CODES = {
    ASKED_TO_STOP: Verdict(TransientError, "{step} was asked to stop and saved its state; run again to go on there"),
}
CRASHES = {signal.SIGABRT, signal.SIGBUS, signal.SIGSEGV}
"""Of native code, for want of memory where that is known. All else counts as KILLED: from a checkpoint it may pass."""


TRACEBACK = "Traceback (most recent call last):\n"
KERAS_ARGUMENTS = "Arguments received by "
"""How Keras begins a list below a message, of which the last line says nothing."""
EMPHASIS = re.compile("\x1b\\[[0-9;]*m")
"""As Keras writes the reason in bold."""

MORE_MEMORY = "give it more memory: let fewer models run at once, or use a machine that has more"
"""What helps a step whose batches are as small as they can be, or whose rows alone are too many."""


def of_exception(step: str, error: BaseException, advice: str = MORE_MEMORY) -> PipelineError | None:
    """What `error` counts as; None for a fault of ours, whose traceback whoever mends it needs.

    `advice` is what helps `step` when it runs out of memory.
    """
    if isinstance(error, PipelineError):
        return error
    if isinstance(error, OSError) and error.errno in ERRNOS:
        return _say(ERRNOS[error.errno], step, f"{f' {error.filename}' if error.filename else ''}: {error.strerror}")
    if getattr(error, "sqlite_errorname", None) in NO_SPACE_OF_SQLITE:
        return _say(DISK_FULL, step, f" a temporary database: {error}")
    for kind in type(error).__mro__:
        if verdict := EXCEPTIONS.get(kind.__name__):
            # Python's own is of arrays of all rows, which no batch makes smaller.
            return _say(verdict, step, "", MORE_MEMORY if isinstance(error, MemoryError) else advice)
    if isinstance(error, RuntimeError | OSError) and any(_lacks_threads(str(each)) for each in _with_causes(error)):
        return _say(NO_THREAD, step, "", more_threads())
    return None


def of_process(step: str, code: int, log: str, oom_kills: int, advice: str = MORE_MEMORY) -> PipelineError:
    """What the end of a process with `code` (negative: a signal) counts as.

    `log` is what it wrote on standard error, `oom_kills` how often the kernel killed for memory meanwhile.
    """
    if code == -signal.SIGKILL and oom_kills:
        return _say(OUT_OF_MEMORY, step, " and was killed by the kernel", advice)
    if code < 0:
        ended_by = signal.Signals(-code)
        if ended_by in CRASHES and (limit := _memory_limit()):
            # Where an allocation fails, native code crashes; a thread needs one too.
            return _say(OUT_OF_MEMORY, step, f" ({ended_by.name} under a limit of {limit[0]:,} bytes)", advice)
        if ended_by in CRASHES and _lacks_threads(log):
            return _say(NO_THREAD, step, f" ({ended_by.name})", more_threads())
        if ended_by in CRASHES and any(name in log for name in EXCEPTIONS):
            return _say(OUT_OF_MEMORY, step, f" ({ended_by.name})", advice)
        return _say(KILLED, step, ended_by.name)
    return _say(EXIT_CODES.get(code, FAULT), step, f"code {code}: {_last_said(log) or 'it said nothing'}")


def _last_said(log: str) -> str:
    """The message of the exception with which `log` ends, without what Keras says below it; or else its last line."""
    _, traceback, said = log.rpartition(TRACEBACK)
    lines = said.splitlines()
    if not traceback:
        return lines[-1] if lines else ""
    message = [*dropwhile(lambda line: not line or line[0].isspace(), lines)]
    of_exception = takewhile(lambda line: not line.startswith(KERAS_ARGUMENTS), message)
    return " ".join(EMPHASIS.sub("", " ".join(of_exception)).split())[:LONGEST_CAUSE]


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__


def _say(verdict: Verdict, step: str, detail: str, advice: str = "") -> PipelineError:
    return verdict.error(verdict.message.format(step=step, detail=detail, advice=advice))


def _lacks_threads(said: str) -> bool:
    return any(words in said for words in NO_THREAD_WORDS)


def more_threads() -> str:
    """What helps where no thread or process can be started. Each needs memory too: its limit shows no other way."""
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    here = "" if limit == resource.RLIM_INFINITY else f", which is {limit:,}"
    first = ""
    if memory := _memory_limit():
        first = f"a process's memory ({memory[1]}, which is {memory[0] // 1024:,}), or else that of "
    return f"raise the limit of {first}this user's processes and threads (ulimit -u{here}), or that of the container"


def _memory_limit() -> tuple[int, str] | None:
    """Bytes that a process may have here, and what says so (a shell, or a batch system in its place)."""
    limits = [
        (resource.getrlimit(kind)[0], name)
        for kind, name in ((resource.RLIMIT_AS, "ulimit -v"), (resource.RLIMIT_DATA, "ulimit -d"))
    ]
    return min((limit for limit in limits if limit[0] != resource.RLIM_INFINITY), default=None)


def oom_kills(cgroup: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int:
    """How many processes the kernel has killed for memory: in this control group, or else on this machine."""
    try:
        group = cgroup.read_text().strip().rpartition("::")[2].lstrip("/")
        events = (root / group / "memory.events").read_text()
    except OSError:
        try:
            events = Path("/proc/vmstat").read_text()
        except OSError:
            return 0
    counts = dict(line.split() for line in events.splitlines())
    return int(counts.get("oom_kill", 0))
