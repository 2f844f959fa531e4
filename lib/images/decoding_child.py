"""The process that decodes: `python -m lib.images.decoding_child SECONDS BYTES`, started by `decoding_process`.

A request is `REQUEST` and the encoded bytes, an answer is `ANSWER`, JSON and the pixels. JSON, since what is sent may
have been made up by a file that has taken the decoder over. It ends when nobody is left to ask or to listen.
"""

import json
import math
import os
import re
import resource
import signal
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal

from lib.images.decoding import NeedsMemory, Unreadable, decode

REQUEST = struct.Struct("!QIB")
"""Number of encoded bytes, side in pixels, channels; 0 for None."""
ANSWER = struct.Struct("!IQ")
"""Number of bytes of JSON, and of pixels."""
READY = b"\n"
NO_MEMORY = 77
"""Exit code where memory did not suffice for the encoded bytes or the answer."""
GRACE_S = 2
"""After which it ends by itself: who asked may be gone, and cannot end it."""


def serve(requests: BinaryIO, answers: BinaryIO, seconds: float) -> None:
    """Answer one request after another, until there are no more."""
    while len(header := requests.read(REQUEST.size)) == REQUEST.size:
        size, side_px, channels = REQUEST.unpack(header)
        encoded = requests.read(size)
        signal.alarm(math.ceil(seconds) + GRACE_S)
        said, pixels = _answer(encoded, side_px or None, channels or None)
        signal.alarm(0)  # whoever asked may take its time to listen
        del encoded
        text = json.dumps(said).encode()
        answers.write(ANSWER.pack(len(text), len(pixels)) + text)
        answers.write(pixels)
        answers.flush()


def _answer(encoded: bytes, side_px: int | None, channels: Literal[1, 3] | None) -> tuple[dict[str, Any], memoryview]:
    try:
        picture = decode(encoded, side_px, channels)
    except NeedsMemory:
        return {"needs_memory": True}, memoryview(b"")
    except Unreadable as error:
        return {"unreadable": str(error)}, memoryview(b"")
    return {**picture._asdict(), "pixels": picture.pixels.shape}, picture.pixels.reshape(-1).data


def limit_memory(size: int) -> None:
    """Let this process take `size` bytes more than it has. Where a system cannot say or bound that, nothing happens."""
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # Not the address space: of that, each thread reserves 64 MB that it never uses.
        if found := re.search(r"VmData:\s*(\d+) kB", Path("/proc/self/status").read_text()):
            most = int(found[1]) * 1024 + size
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    seconds, size = float(sys.argv[1]), int(sys.argv[2])
    limit_memory(size)
    try:
        os.write(1, READY)
        serve(sys.stdin.buffer, sys.stdout.buffer, seconds)
    except MemoryError:
        os._exit(NO_MEMORY)
    except OSError:  # nobody listens any more
        os._exit(0)
    os._exit(0)


if __name__ == "__main__":
    main()
