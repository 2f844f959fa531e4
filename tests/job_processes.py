"""The processes in which jobs run, found as `ps` shows them."""

import psutil


def jobs_under(pid: int) -> list[psutil.Process]:
    """Those that the process `pid`, or what it has started, has forked for its jobs."""
    try:
        return [each for each in psutil.Process(pid).children(recursive=True) if is_job(each)]
    except psutil.NoSuchProcess:
        return []


def is_job(process: psutil.Process) -> bool:
    try:
        return process.name().startswith("job-")
    except psutil.NoSuchProcess:
        return False


def job_of(pid: int) -> int | None:
    """The process id of the job that is under way there."""
    return next((each.pid for each in jobs_under(pid)), None)
