"""What nothing needs any more. The table of steps says how long each kind of output is kept.

It may run beside flows: what was written within the grace period stays, with all that it was made of, and so does what
a training under way may use. The store's own clock says how old a file is.
"""

import math
import re
import time
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from lib.errors import PermanentError
from lib.lineage.folders import CHECKPOINTS, check_is_store, folders, output_folders
from lib.lineage.index import read_index
from lib.lineage.kept import GRACE_S, Ages, Manifests, Policy, kept_outputs
from lib.lineage.manifests import MANIFEST, Manifest
from lib.lineage.step import Kept
from lib.lineage.steps import STEPS, checkpoints_address
from lib.store import Store

RECHECK_S = 10.0
"""While it deletes, it looks this often whether something new uses what it is about to delete."""
RENEWED_S = 600.0
"""A lease that was written so long ago at most is a live one, however short the grace period."""
LITTER, CHECKPOINT, INCOMPLETE_UPLOAD = "named by no manifest", "checkpoint of finished work", "incomplete upload"
LEFT_OVER = "left of an output without a manifest"
OURS = re.compile(r"-[0-9a-f]{12}\.\w+$")
"""How `put_file` names files."""


@dataclass(frozen=True)
class Removal:
    """One file, or what was written of one."""

    path: str
    reason: str
    size_bytes: int | None = None
    """None where only the store could tell."""
    address: str | None = None
    """The output that it belongs to, where all of that goes."""


@dataclass(frozen=True)
class CleanUp:
    """What may go, in the order in which it may, and a line on what was passed over."""

    removals: list[Removal]
    note: str = ""


def plan(store: Store, policy: Policy) -> CleanUp:
    """What may go.

    What another version of this code wrote is passed over, and so is what is damaged; of a dataset with damaged
    outputs, nothing old goes, for what they refer to is unknown. Raises PermanentError where an alias is damaged or
    names no output, and where the folder is no store.
    """
    check_is_store(store)
    # Checkpoints first: of a training that ends meanwhile, either the lease or the model is seen.
    checkpoints, ages = store.ages(CHECKPOINTS), _ages(store)
    index = read_index(store, sorted(ages))
    manifests = {address: each for address, each in index.outputs.items() if _in_its_place(address, each)}
    finished = {checkpoints_address(address) for address in manifests}
    removals = [*_litter(ages, manifests, policy.grace_s), *_left_over(ages, checkpoints, policy.grace_s)]
    removals += _finished(checkpoints, finished, policy.grace_s)
    # Not of all that lies under the same root: with a folder that others use too, that could be a whole disk.
    uploads = [each for folder in folders() for each in store.incomplete_uploads(folder, max(policy.grace_s, GRACE_S))]
    ours = (name for name in sorted(uploads) if not _inside(name, {*manifests, *finished}))
    removals += [Removal(name, INCOMPLETE_UPLOAD) for name in ours]
    if policy.keep is not None:
        kept = kept_outputs(store, policy, manifests, ages)
        spared = _in_use(checkpoints, finished, policy.grace_s) | {_dataset(address) for address in index.damaged}
        removals += _old({a: m for a, m in manifests.items() if a not in kept and _dataset(a) not in spared})
    misplaced = [address for address in index.outputs if address not in manifests]
    notes = [index.note(), f"{misplaced[0]} is not where its kind lies; left alone" if misplaced else ""]
    return CleanUp(removals, "; ".join(note for note in notes if note))


def apply(
    store: Store,
    policy: Policy,
    removals: Iterable[Removal],
    tell: Callable[[Removal], None] = lambda removal: None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Remove them in their order, but for what has come into use since; `tell` is told of each.

    Cut at any point, every manifest that is left has its files and inputs. Raises what the store raises: of a file that
    is no manifest, after all others are removed.
    """
    looked_at, allowed = -math.inf, set[str]()
    kept: list[PermanentError] = []
    for removal in removals:
        if removal.address is not None and clock() - looked_at > RECHECK_S:
            allowed, looked_at = {each.path for each in plan(store, policy).removals}, clock()
        if removal.reason == INCOMPLETE_UPLOAD:
            store.discard(removal.path)
        # Its age by itself: a run that makes the same output again writes its files anew. What is gone has none.
        elif _may_still_go(store, removal, allowed) and (store.age(removal.path) or 0.0) >= policy.grace_s:
            try:
                store.delete(removal.path)
            except PermanentError as error:
                if removal.path.endswith(f"/{MANIFEST}"):
                    raise
                kept.append(error)
                continue
        else:
            continue
        tell(removal)
    if kept:
        raise kept[0]


def _may_still_go(store: Store, removal: Removal, allowed: Container[str]) -> bool:
    """Whether an old output has not come into use since it was planned to go: then its manifest stays."""
    if removal.address is None:
        return True
    manifest = f"{removal.address}/{MANIFEST}"
    return removal.path in allowed if removal.path == manifest else not store.exists(manifest)


def _ages(store: Store) -> dict[str, float]:
    """Of all files of all outputs."""
    found: dict[str, float] = {}
    for root in output_folders():
        found |= store.ages(root)
    return found


def _in_its_place(address: str, manifest: Manifest) -> bool:
    """Whether it lies where outputs of its kind lie, and so is cleaned up as one of these."""
    step = STEPS.get(manifest.kind)
    return step is not None and address.startswith(f"{step.root}/") and address.count("/") == step.folder.count("/") + 1


def _litter(ages: Ages, manifests: Manifests, grace_s: float) -> Iterator[Removal]:
    """Files beside manifests that do not name them. Without a manifest, work may be under way."""
    named = {file.path for manifest in manifests.values() for file in manifest.files.values()}
    named |= {f"{address}/{MANIFEST}" for address in manifests}
    for path, age_s in sorted(ages.items()):
        if path not in named and age_s >= grace_s and _beside(path, manifests):
            yield Removal(path, LITTER)


def _left_over(ages: Ages, checkpoints: Ages, grace_s: float) -> Iterator[Removal]:
    """Files of outputs without a manifest, as a removal or a run that was cut leaves them; not while one is at work."""
    young_s = max(grace_s, RENEWED_S)
    at_work = {str(PurePosixPath(path).parent) for path, age_s in checkpoints.items() if age_s < young_s}
    for path, age_s in sorted(ages.items()):
        address = str(PurePosixPath(path).parent)
        is_ours = OURS.search(path) and _is_address(address) and f"{address}/{MANIFEST}" not in ages
        if is_ours and age_s >= grace_s and checkpoints_address(address) not in at_work:
            yield Removal(path, LEFT_OVER, address=address)


def _is_address(folder: str) -> bool:
    """Whether outputs of some step lie where `folder` does."""
    return any(
        folder.startswith(f"{step.root}/") and folder.count("/") == step.folder.count("/") + 1
        for step in STEPS.values()
    )


def _finished(checkpoints: Ages, finished: Container[str], grace_s: float) -> Iterator[Removal]:
    for path, age_s in sorted(checkpoints.items()):
        if age_s >= grace_s and _beside(path, finished):
            yield Removal(path, CHECKPOINT)


def _beside(path: str, addresses: Container[str]) -> bool:
    """Whether it is a file of one of them. A folder inside is not ours, and may be a link to a person's own files."""
    return str(PurePosixPath(path).parent) in addresses


def _inside(path: str, addresses: Container[str]) -> bool:
    """Whether it lies in such a folder."""
    return any(str(parent) in addresses for parent in PurePosixPath(path).parent.parents)


def _dataset(address: str) -> str:
    """Its second part; for weights it is the backbone's name."""
    return [*address.split("/"), ""][1]


def _in_use(checkpoints: Ages, finished: Container[str], grace_s: float) -> set[str]:
    """Datasets of which a training is under way, or ended without its model, within the grace period."""
    young_s = max(grace_s, RENEWED_S)
    young = (path.split("/") for path, age in checkpoints.items() if age < young_s and not _beside(path, finished))
    return {parts[2] for parts in young if len(parts) > 3}


def _old(manifests: Manifests) -> Iterator[Removal]:
    """Every file of these outputs, what was made of others first, and each one's manifest before its files.

    So no manifest ever refers to what is gone, and what is not whole does not read as done. A file that lies elsewhere
    is another output's, whatever the manifest says.
    """
    for step in reversed(STEPS.values()):
        if step.kept is not Kept.ALWAYS:
            for address in sorted(address for address, each in manifests.items() if each.kind == step.kind):
                manifest, reason = manifests[address], f"old {step.kind}"
                yield Removal(f"{address}/{MANIFEST}", reason, len(manifest.to_json()), address)
                for file in {each.path: each for each in manifest.files.values()}.values():
                    if _beside(file.path, {address}):
                        yield Removal(file.path, reason, file.size_bytes, address)
