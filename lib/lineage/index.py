"""What a store holds: its finished outputs, and those that another version of this code wrote."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from lib.errors import PermanentError
from lib.lineage.manifests import MANIFEST, Manifest, OtherVersion, find
from lib.store import Store


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

    def newest(self) -> Manifest | None:
        """The output that was made last."""
        return max(self.outputs.values(), key=lambda manifest: str(manifest.made_by.get("at", "")), default=None)


def read_index(store: Store, paths: Iterable[str]) -> Index:
    """The outputs whose manifests are among `paths`."""
    outputs, other_versions, damaged = {}, [], {}
    for path in paths:
        if PurePosixPath(path).name == MANIFEST:
            address = str(PurePosixPath(path).parent)
            try:
                if found := find(store, address):
                    outputs[address] = found[1]
            except OtherVersion:
                other_versions.append(address)
            except PermanentError as error:
                damaged[address] = error
    return Index(outputs, other_versions, damaged)
