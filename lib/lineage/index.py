"""What a store holds: its finished outputs, and those that another version of this code wrote."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from lib.lineage.manifests import MANIFEST, Manifest, OtherVersion, find
from lib.store import Store


@dataclass(frozen=True)
class Index:
    """Finished outputs by address."""

    outputs: dict[str, Manifest]
    passed_over: list[str]
    """Addresses of what another version of this code wrote."""

    def note(self) -> str:
        """One line on what was passed over; empty where nothing was."""
        if not (others := self.passed_over):
            return ""
        what = "1 output" if len(others) == 1 else f"{len(others):,} outputs"
        return f"{what} of another version of this code left alone, such as {others[0]}"

    def newest(self) -> Manifest | None:
        """The output that was made last."""
        return max(self.outputs.values(), key=lambda manifest: str(manifest.made_by.get("at", "")), default=None)


def read_index(store: Store, paths: Iterable[str]) -> Index:
    """The outputs whose manifests are among `paths`. Raises PermanentError where one is damaged."""
    outputs, passed_over = {}, []
    for path in paths:
        if PurePosixPath(path).name == MANIFEST:
            address = str(PurePosixPath(path).parent)
            try:
                if found := find(store, address):
                    outputs[address] = found[1]
            except OtherVersion:
                passed_over.append(address)
    return Index(outputs, passed_over)
