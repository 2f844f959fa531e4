"""What a store holds: its finished outputs, and what cannot be read."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath

from lib.errors import InTheWay, NotFound, PermanentError
from lib.lineage.manifests import MANIFEST, Manifest, OtherVersion, find
from lib.store import Store

AT_ONCE = 8
"""Reads of a store, whose answers take longer than what they hold."""
TRIED = 8
"""Outputs that `newest` looks at until it can read one."""


@dataclass(frozen=True)
class Index:
    """Finished outputs by address."""

    outputs: dict[str, Manifest]
    other_versions: list[str]
    """Addresses of what another version of this code wrote."""
    damaged: dict[str, PermanentError]
    """Addresses whose manifest was changed after it was written, and what is to be said of each."""

    def note(self) -> str:
        """One line on what was passed over; empty where nothing was."""
        problems = {"of another version of this code": self.other_versions, "with a damaged manifest": [*self.damaged]}
        return "; ".join(
            f"{len(addresses):,} output{'s' * (len(addresses) > 1)} {problem} left alone, such as {addresses[0]}"
            for problem, addresses in problems.items()
            if addresses
        )


def read_index(store: Store, paths: Iterable[str]) -> Index:
    """The outputs whose manifests are among `paths`; each is read once."""
    addresses = [str(PurePosixPath(path).parent) for path in paths if PurePosixPath(path).name == MANIFEST]
    outputs, other_versions, damaged = {}, [], {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for address, found in zip(addresses, pool.map(lambda each: _read(store, each), addresses), strict=True):
            if isinstance(found, OtherVersion):
                other_versions.append(address)
            elif isinstance(found, PermanentError):
                damaged[address] = found
            elif found:
                outputs[address] = found
    return Index(outputs, other_versions, damaged)


def newest(store: Store, folder: str) -> tuple[Manifest | None, str]:
    """The output in `folder` that was made last, by the store's clock, and a line on those that were passed over.

    However many there are, it reads only the newest, and a few more where that cannot be read.
    """
    ages: Mapping[str, float] = store.ages(folder)
    manifests = sorted((path for path in ages if PurePosixPath(path).name == MANIFEST), key=lambda path: ages[path])
    read = Index({}, [], {})
    for path in manifests[:TRIED]:
        one = read_index(store, [path])
        read = Index(one.outputs, read.other_versions + one.other_versions, read.damaged | one.damaged)
        if one.outputs:
            break
    return next(iter(read.outputs.values()), None), read.note()


def _read(store: Store, address: str) -> Manifest | PermanentError | None:
    """None where it is gone since it was listed."""
    try:
        found = find(store, address)
    except InTheWay as error:
        return error
    except NotFound:
        return None
    except PermanentError as error:
        return error
    return found[1] if found else None
