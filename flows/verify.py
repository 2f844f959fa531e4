"""Verify an output and everything it was made from: `python -m flows.verify reports/digits/<key>`.

It follows the manifests back to the raw files, recomputes every digest, of files and of what is in them, and names the
first that does not match. It reads the store and nothing else.
"""

import argparse
import os
from pathlib import Path, PurePosixPath

from lib.command_line import add_store_option, main_of, parser, settings_of
from lib.lineage.manifests import Manifest
from lib.lineage.verify import verify
from lib.store import open_store


def make_parser() -> argparse.ArgumentParser:
    options = parser(__doc__)
    options.add_argument(
        "ref", nargs="+", metavar="REF", help="address of an output in the store, such as reports/digits/<key>"
    )
    add_store_option(options)
    return options


def command(arguments: list[str] | None = None) -> None:
    chosen = make_parser().parse_args(arguments)
    settings = settings_of(chosen)
    store = open_store(settings.store_uri, settings.cache_dir)
    _start_keras_quietly()
    for text in chosen.ref:
        ref = verify(store, address_of(text, store.uri), _show)
        print(f"{ref.uri} holds, and all that it was made of. sha256 {ref.sha256}")


def address_of(text: str, store_uri: str) -> str:
    """The address that a person means who gives it, its URI, or one of the files there."""
    path = text.removeprefix("file://").removeprefix(store_uri).strip("/")
    return path.rpartition("/")[0] if PurePosixPath(path).suffix else path


def _show(address: str, manifest: Manifest) -> None:
    by = manifest.made_by
    code = f"{(by['commit'] or 'unknown')[:12]}{', with uncommitted changes' if by['uncommitted_changes'] else ''}"
    print(f"holds: {address}  made {by['at']} in {by['seconds']:g} s by code {code}", flush=True)


def _start_keras_quietly() -> None:
    """Without the lines that TensorFlow writes on standard error as it starts."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        import keras  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)


if __name__ == "__main__":
    main_of(command)
