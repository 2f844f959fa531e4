"""Ports of the loopback that no program listens on."""

import socket
from contextlib import ExitStack


def free_ports(count: int) -> list[int]:
    """All held open at once, so that they differ."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]


def is_free(port: int) -> bool:
    """Whether a server could listen there."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just left is free
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def preferred(port: int) -> int:
    """`port` where it is free, or else another."""
    return port if is_free(port) else free_ports(1)[0]
