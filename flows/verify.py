"""Verify an output and everything it was made from: `python -m flows.verify reports/digits/<key>`.

It follows the manifests back to the raw files, reads every file, works out anew what each manifest says (pixels,
splits, metrics, leaderboard, page), and names the first thing that does not hold. It reads the store and nothing else.
`registry/digits` stands for all records of the champions of digits, and their decisions.
The last line gives the SHA-256 of the output. Keep it somewhere else, and `REF@SHA256` holds only if it is still that.
"""

import argparse
import os
import re
import sys
from pathlib import Path, PurePosixPath

from flows.command import reach_store, settings_of
from lib.command_line import RUN_AGAIN, add_store_option, main_of, parser
from lib.errors import PermanentError, counted
from lib.lineage.folders import REGISTRY
from lib.lineage.manifests import MANIFEST, Manifest, address_of, find
from lib.lineage.verify import verify
from lib.registry.audit import verify_history
from lib.runtime.environment import set_for_computing
from lib.store import Store


def make_parser() -> argparse.ArgumentParser:
    options = parser(__doc__)
    options.add_argument(
        "ref",
        nargs="+",
        metavar="REF",
        help="address of an output in the store, such as reports/digits/<key>, or registry/digits; with @SHA256, "
        "it must be that one",
    )
    add_store_option(options)
    return options


def command(arguments: list[str] | None = None) -> None:
    chosen = make_parser().parse_args(arguments)
    store = reach_store(settings_of(chosen))
    start_keras_quietly()
    for text in chosen.ref:
        place, sha256 = split_ref(text)
        address = address_of(place, store.uri, "REF must name an output")
        if address.startswith(f"{REGISTRY}/"):
            _verify_history(store, address.split("/")[1], sha256)
            continue
        _check_named(store, address, PurePosixPath(place).name)
        ref = verify(store, address, _show, sha256, lambda note: print(note, file=sys.stderr))
        print(f"{ref.uri} holds, and all that it was made of. sha256 {ref.sha256}")


def _verify_history(store: Store, dataset: str, sha256: str | None) -> None:
    history = verify_history(store, dataset, _show, sha256, lambda note: print(note, file=sys.stderr))
    number, last = len(history.records), history.records[-1]
    place = f"{REGISTRY}/{dataset}"
    print(f"{place} holds: {counted(number, 'record')}, each after the one before. sha256 {last.sha256}")


def _check_named(store: Store, address: str, name: str) -> None:
    """Raise PermanentError where the output at `address` has no such file: nobody would look at it."""
    if found := find(store, address):
        known = {MANIFEST, PurePosixPath(address).name, *(PurePosixPath(f.path).name for f in found[1].files.values())}
        if name not in known:
            raise PermanentError(
                f"REF must name an output or one of its files; {address} has none that is called {name}"
            )


def split_ref(text: str) -> tuple[str, str | None]:
    """The place that REF or REF@SHA256 names, and the digest."""
    place, at, digest = text.rpartition("@")
    if not at or "/" in digest:  # an @ further in front is part of the place
        return text, None
    if not re.fullmatch("[0-9a-fA-F]{64}", digest):
        raise PermanentError(f"the digest behind @ must have 64 hexadecimal digits; received {digest!r}")
    return place, digest.lower()


def _show(address: str, manifest: Manifest) -> None:
    by = manifest.made_by
    changed = ", with uncommitted changes" if by.get("uncommitted_changes") else ""
    code = f"{str(by.get('commit') or 'unknown')[:12]}{changed}"
    line = f"holds: {address}  made {by.get('at')} in {by.get('seconds')} s by code {code}"
    print("".join(each if each.isprintable() else "?" for each in line), flush=True)


def start_keras_quietly() -> None:
    """Without the lines that TensorFlow writes on standard error as it starts."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        with set_for_computing():
            import keras  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)


if __name__ == "__main__":
    main_of(command, f"nothing was changed, and not all was verified: {RUN_AGAIN}")
