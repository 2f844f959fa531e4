"""What runs, in which order. Each module is also a command: `python -m flows`."""

import logging
import os
import sys

from lib.packages import tell_missing

if sys.argv[0] == "-m":
    tell_missing()

from lib.command_line import begin
from lib.redaction import keep_out_of_logs
from lib.runtime.failures import of_exception

if sys.argv[0] == "-m":  # `python -m flows.…`, before any import of the command's own
    begin()


def _without_traceback(record: logging.LogRecord) -> bool:
    """Where the error is one that we explain, its traceback says nothing more."""
    if record.exc_info and record.exc_info[1] and of_exception("this run", record.exc_info[1]):
        record.exc_info = None
        record.exc_text = None
    return True


def _without_dead_link(record: logging.LogRecord) -> bool:
    """A temporary server has no user interface, and ends with the run."""
    from tasks.server import is_temporary  # loading Prefect takes a second, and this module comes before all

    return not (str(record.msg).startswith("View at ") and is_temporary())


def _without_item(record: logging.LogRecord) -> bool:
    """An event that does not reach the server is several lines long, and says nothing of why."""
    if str(record.msg).startswith("Service %r failed to process item %r") and isinstance(record.args, tuple):
        record.msg, record.args = "Service %r failed to process an item", record.args[:1]
    return True


os.environ["MPLBACKEND"] = "agg"  # Jupyter names one to every `!command` that only Jupyter has

# At import: on a worker it is Prefect that loads a flow, and that logs what it raises.
keep_out_of_logs()
for name in ("prefect.engine", "prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(name).addFilter(_without_traceback)
logging.getLogger("prefect.flow_runs").addFilter(_without_dead_link)
logging.getLogger("prefect._internal.concurrency").addFilter(_without_item)
