"""What nothing needs any more. The table of steps says how long each kind of output is kept."""

import json
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from lib.errors import PermanentError
from lib.lineage.index import read_index
from lib.lineage.manifests import MANIFEST, Manifest
from lib.lineage.steps import STEPS, Kept, checkpoints_address
from lib.store import Store

INCOMPLETE_UPLOAD_AGE_S = 24 * 3600.0
"""An upload under way looks like an incomplete one, and must not be taken away; none takes a day."""
LITTER, CHECKPOINT, INCOMPLETE_UPLOAD = "named by no manifest", "checkpoint of finished work", "incomplete upload"

Manifests = dict[str, Manifest]
"""By address."""


@dataclass(frozen=True)
class Removal:
    """One file, or what was written of one."""

    path: str
    reason: str
    size_bytes: int | None = None
    """None where only the store could tell."""


@dataclass(frozen=True)
class CleanUp:
    """What may go, in the order in which it may, and a line on what was passed over."""

    removals: list[Removal]
    note: str = ""


def plan(store: Store, keep: int | None = None) -> CleanUp:
    """What may go; of old models and what follows from them nothing where `keep` is None.

    What another version of this code wrote is passed over. Raises PermanentError where a manifest or alias is damaged,
    for what it reaches is unknown.
    """
    if keep is not None and keep < 1:
        raise PermanentError(f"--keep must be a whole number of at least 1; received {keep}")
    paths = [path for root in dict.fromkeys(step.root for step in STEPS.values()) for path in store.list(root)]
    index = read_index(store, paths)
    for error in index.damaged.values():
        raise error
    manifests = {address: each for address, each in index.outputs.items() if each.kind in STEPS}
    checkpoints, finished = store.list("checkpoints"), {checkpoints_address(address) for address in manifests}
    removals = [Removal(path, LITTER) for path in _litter(paths, manifests)]
    removals += [Removal(path, CHECKPOINT) for path in checkpoints if _within(path, finished)]
    removals += [Removal(name, INCOMPLETE_UPLOAD) for name in store.incomplete_uploads(INCOMPLETE_UPLOAD_AGE_S)]
    if keep is not None:
        unfinished = [path for path in checkpoints if not _within(path, finished)]
        roots = [*_newest(manifests, keep), *_aliases(store), *_used_by_unfinished(manifests, unfinished)]
        kept = _reached(manifests, roots)
        removals += _old({address: each for address, each in manifests.items() if address not in kept})
    return CleanUp(removals, index.note())


def apply(store: Store, removals: Iterable[Removal]) -> None:
    """Remove them in their order; cut at any point, every manifest that is left has its files and inputs."""
    for removal in removals:
        (store.discard if removal.reason == INCOMPLETE_UPLOAD else store.delete)(removal.path)


def _litter(paths: list[str], manifests: Manifests) -> list[str]:
    """Files at finished addresses that no manifest names. Without a manifest, work may be under way."""
    named = {file.path for manifest in manifests.values() for file in manifest.files.values()}
    named |= {f"{address}/{MANIFEST}" for address in manifests}
    return [path for path in paths if path not in named and _within(path, manifests)]


def _within(path: str, addresses: Container[str]) -> bool:
    return any(str(parent) in addresses for parent in PurePosixPath(path).parents)


def _newest(manifests: Manifests, keep: int) -> Iterator[str]:
    """Of each folder and limit, the last output or the last `keep`, as its step says."""
    series = defaultdict(list)
    for address, each in sorted(manifests.items(), key=lambda item: (item[1].made_by["at"], item[0])):
        kept = STEPS[each.kind].kept
        if kept in {Kept.NEWEST, Kept.NEWEST_N}:
            series[kept, PurePosixPath(address).parent, each.facts.get("limit")].append(address)
    for (kept, *_), addresses in series.items():
        yield from addresses[-1 if kept is Kept.NEWEST else -keep :]


def _aliases(store: Store) -> Iterator[str]:
    """Every address that a file of the registry names."""
    for path in store.list("registry"):
        if path.endswith(".json"):
            try:
                yield from _uris(json.loads(store.read(path)))
            except ValueError as error:
                raise PermanentError(
                    f"an alias must be JSON; received {path} in {store.uri}: {error}; mend or remove it"
                ) from error


def _uris(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and isinstance(value.get("uri"), str):
        yield value["uri"]
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _uris(each)


def _used_by_unfinished(manifests: Manifests, unfinished: list[str]) -> list[str]:
    """What is kept while it is used, of datasets with unfinished work: that may be what uses it."""
    datasets = {path.split("/")[2] for path in unfinished if path.count("/") > 2}
    while_used = (address for address, each in manifests.items() if STEPS[each.kind].kept is Kept.WHILE_USED)
    return [address for address in while_used if manifests[address].facts["dataset"] in datasets]


def _reached(manifests: Manifests, roots: list[str]) -> set[str]:
    """The roots, all that they were made of, and what is kept along with that."""
    followers = defaultdict(list)
    for address, manifest in manifests.items():
        if STEPS[manifest.kind].kept is Kept.WITH_INPUTS:
            own = [ref.uri for ref in manifest.inputs.values() if _is_not_data(manifests, ref.uri)]
            for uri in own:
                followers[uri].append(address)
    reached: set[str] = set()
    waiting = list(roots)
    while waiting:
        address = waiting.pop()
        if address in manifests and address not in reached:
            reached.add(address)
            waiting += [*(ref.uri for ref in manifests[address].inputs.values()), *followers[address]]
    return reached


def _is_not_data(manifests: Manifests, address: str) -> bool:
    """Whether it goes at some time: what is always kept would keep all that was ever made of it."""
    return address in manifests and STEPS[manifests[address].kind].kept is not Kept.ALWAYS


def _old(manifests: Manifests) -> Iterator[Removal]:
    """Every file of these outputs, what was made of others first, and each one's manifest before its files.

    So no manifest ever refers to what is gone, and what is not whole does not read as done.
    """
    for step in reversed(STEPS.values()):
        if step.kept is not Kept.ALWAYS:
            for address in sorted(address for address, each in manifests.items() if each.kind == step.kind):
                manifest = manifests[address]
                yield Removal(f"{address}/{MANIFEST}", f"old {step.kind}", len(manifest.to_json()))
                for file in manifest.files.values():
                    yield Removal(file.path, f"old {step.kind}", file.size_bytes)
