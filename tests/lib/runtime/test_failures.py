"""What ended a step, and whether trying again may help."""

import errno
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lib.errors import NotFound, NoThread, PermanentError, TransientError
from lib.runtime.failures import MORE_MEMORY, of_exception, of_process, oom_kills
from lib.settings import REPOSITORY

STEP = "the train process"
NO_THREAD = "env.cc:84] Check failed: ret == 0 (11 vs. 0) Thread tf_Compute creation via pthread_create() failed."
STACK = "\n    @     0x7f0ac0194e22  tsl::PThread::PThread()" * 50


AGAIN = "During handling of the above exception, another exception occurred:"
KERAS = """Traceback (most recent call last):
  File "networks.py", line 142, in alexnet
    x = layers.MaxPooling2D()(x)
ValueError: Exception encountered when calling MaxPooling2D.call().

\x1b[1mComputed output size would be zero or negative.\x1b[0m

Arguments received by MaxPooling2D.call():
  • inputs=tf.Tensor(shape=(None, 1, 1, 96), dtype=float32)
  • kwargs=<class 'inspect._empty'>"""


def caused(error: Exception, by: Exception) -> Exception:
    error.__cause__ = by
    return error


class ResourceExhaustedError(Exception):
    """Named as TensorFlow's is."""


def test_errors_of_ours_say_themselves_what_they_are() -> None:
    ours = NotFound("nothing is stored at x")
    assert of_exception(STEP, ours) is ours


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (ResourceExhaustedError("OOM when allocating tensor"), "lower the batch"),
        (MemoryError("Unable to allocate 90 GiB for an array with shape (10000000, 9216)"), MORE_MEMORY),
    ],
)
def test_out_of_memory_is_permanent_and_says_what_helps(error: Exception, advice: str) -> None:
    found = of_exception(STEP, error, "lower the batch")
    assert type(found) is PermanentError
    assert str(found) == f"the train process ran out of memory; {advice}"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_permanent_and_names_the_file(number: int) -> None:
    found = of_exception(STEP, OSError(number, "it is full", "/tmp/model.keras"))
    assert type(found) is PermanentError
    assert str(found) == ("the train process could not write /tmp/model.keras: it is full; free space, or set TMPDIR")


FULL = """
import resource
from lib.runtime.failures import of_exception
from lib.temporary import temporary_database
database = temporary_database()
database.execute("PRAGMA cache_size = -64")
database.execute("CREATE TABLE rows (data)")
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    database.executemany("INSERT INTO rows VALUES (?)", ((bytes(1_000),) for _ in range(1_000)))
except Exception as error:
    print(repr(of_exception("this run", error)))
"""


def test_a_temporary_database_that_finds_no_space_says_so() -> None:
    done = subprocess.run([sys.executable, "-c", FULL], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    said = "this run could not write a temporary database: disk I/O error; free space, or set TMPDIR"
    assert done.stdout.strip() == f"PermanentError('{said}')"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("can't start new thread"),
        OSError(errno.EAGAIN, "Resource temporarily unavailable"),
        caused(RuntimeError("Failed to reach API"), RuntimeError("can't start new thread")),
    ],
)
def test_too_few_threads_are_permanent_and_name_their_limit(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    unlimited = resource.RLIM_INFINITY
    limits = {resource.RLIMIT_NPROC: 12}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits.get(kind, unlimited), unlimited))
    found = of_exception(STEP, error)
    assert type(found) is NoThread
    assert str(found) == (
        "the train process could not start a thread or a process; raise the limit of this user's processes and threads "
        "(ulimit -u, which is 12), or that of the container"
    )
    limits |= {resource.RLIMIT_AS: 400_000 * 1024, resource.RLIMIT_DATA: 500_000 * 1024}
    assert str(of_exception(STEP, error)) == (
        "the train process could not start a thread or a process; raise the limit of a process's memory (ulimit -v, "
        "which is 400,000), or else that of this user's processes and threads (ulimit -u, which is 12), or that of the "
        "container"
    )


def test_what_is_in_no_row_is_a_fault_of_ours() -> None:
    assert of_exception(STEP, ZeroDivisionError()) is None
    assert of_exception(STEP, OSError(errno.EACCES, "denied", "/x")) is None


@pytest.mark.parametrize(
    ("code", "log", "kind", "says"),
    [
        (-signal.SIGKILL, "", TransientError, "was killed by SIGKILL; run again to go on there"),
        (-signal.SIGSEGV, "", TransientError, "was killed by SIGSEGV; run again to go on there"),
        (-signal.SIGABRT, "", TransientError, "was killed by SIGABRT; run again to go on there"),
        (-signal.SIGABRT, "what(): std::bad_alloc", PermanentError, "ran out of memory (SIGABRT); give it more memory"),
        (
            -signal.SIGABRT,
            f"F0000 {NO_THREAD}{STACK}",
            NoThread,
            "could not start a thread or a process (SIGABRT); ",
        ),
        (75, "", TransientError, "was asked to stop and saved its state"),
        (1, "Traceback\nZeroDivisionError", PermanentError, "ended with code 1: ZeroDivisionError"),
        (
            1,
            f"Traceback (most recent call last):\n  File x\nKeyError: 1\n{AGAIN}\n{KERAS}",
            PermanentError,
            "ended with code 1: ValueError: Exception encountered when calling MaxPooling2D.call(). Computed output "
            "size would be zero or negative.",
        ),
        (1, "Traceback (most recent call last):\n  File x\nKeyError", PermanentError, "ended with code 1: KeyError"),
        (9, "", PermanentError, "ended with code 9: it said nothing"),
    ],
)
def test_the_end_of_a_process_is_permanent_or_transient(code: int, log: str, kind: type, says: str) -> None:
    found = of_process(STEP, code, log, 0)
    assert type(found) is kind
    assert str(found).startswith(f"{STEP} {says}")


def test_a_kill_by_the_kernel_for_memory_is_permanent() -> None:
    found = of_process(STEP, -signal.SIGKILL, "", 1)
    assert type(found) is PermanentError
    assert "ran out of memory and was killed by the kernel" in str(found)


def test_kills_for_memory_are_read_from_the_control_group(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\n")
    (tmp_path / "cgroup").write_text("0::/job\n")
    assert oom_kills(tmp_path / "cgroup", tmp_path) == 1


def test_a_process_that_really_runs_out_of_memory_is_known() -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (300_000_000, 300_000_000))

    code = (
        "from lib.runtime.failures import MORE_MEMORY, of_exception\n"
        "try:\n    bytearray(10**9)\nexcept MemoryError as error:\n    print(of_exception('it', error))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"it ran out of memory; {MORE_MEMORY}\n"
