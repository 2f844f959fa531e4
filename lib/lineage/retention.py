"""Remove what nothing needs any more. Without --delete it only says what.

Always: files of lost races, checkpoints of finished work, and incomplete uploads. With --keep N: reports,
evaluations, models and features that neither the newest report of a dataset and limit, nor an alias, nor one of
the newest N models of a dataset, recipe and limit reaches. Data and weights stay.

Run it while no flow runs: what a flow has just found done must not go before it is used.
"""

import json
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from lib.command_line import add_store_option, main_of, parser
from lib.errors import PermanentError
from lib.lineage.manifests import MANIFEST, Manifest, find
from lib.lineage.steps import checkpoints_address
from lib.settings import read_settings
from lib.store import Store, open_store

INCOMPLETE_UPLOAD_AGE_S = 24 * 3600.0
"""Seconds. An upload under way looks like an incomplete one, and must not be taken away; none takes a day."""
FOLDERS = ("datasets", "prepared", "weights", "features", "models", "evaluations", "reports")
LITTER, CHECKPOINT, INCOMPLETE_UPLOAD = "named by no manifest", "checkpoint of finished work", "incomplete upload"
OLD = {"report": "old report", "evaluation": "old evaluation", "model": "old model", "features": "old features"}
"""By kind, in the order of their removal: no manifest ever refers to what is gone."""

Manifests = dict[str, Manifest]
"""By address."""


@dataclass(frozen=True)
class Removal:
    """One file, or what was written of one."""

    path: str
    reason: str
    size_bytes: int | None = None
    """None where only the store could tell."""


def plan(store: Store, keep: int | None = None) -> list[Removal]:
    """What may go, in the order in which it may; of old models nothing where `keep` is None.

    Raises PermanentError where a manifest or alias is damaged, for what it reaches is unknown.
    """
    if keep is not None and keep < 1:
        raise PermanentError(f"--keep must be a whole number of at least 1; received {keep}")
    paths = [path for folder in FOLDERS for path in store.list(folder)]
    manifests = _manifests(store, paths)
    litter = _litter(paths, manifests)
    checkpoints, finished = store.list("checkpoints"), _finished_work(manifests)
    removals = [Removal(path, LITTER) for path in litter]
    removals += [Removal(path, CHECKPOINT) for path in checkpoints if _within(path, finished)]
    removals += [Removal(name, INCOMPLETE_UPLOAD) for name in store.incomplete_uploads(INCOMPLETE_UPLOAD_AGE_S)]
    if keep is not None:
        unfinished = [path for path in checkpoints if not _within(path, finished)]
        roots = [*_newest(manifests, keep), *_aliases(store), *_features_in_use(manifests, unfinished)]
        kept = _reached(manifests, roots)
        removals += _old({address: each for address, each in manifests.items() if address not in kept})
    return removals


def apply(store: Store, removals: Iterable[Removal]) -> None:
    """Remove them in their order; cut at any point, every manifest that is left has its files and inputs."""
    for removal in removals:
        (store.discard if removal.reason == INCOMPLETE_UPLOAD else store.delete)(removal.path)


def _manifests(store: Store, paths: list[str]) -> Manifests:
    addresses = [str(PurePosixPath(path).parent) for path in paths if PurePosixPath(path).name == MANIFEST]
    return {address: found[1] for address in addresses if (found := find(store, address))}


def _litter(paths: list[str], manifests: Manifests) -> list[str]:
    """Files at finished addresses that no manifest names. Without a manifest, work may be under way."""
    named = {file.path for manifest in manifests.values() for file in manifest.files.values()}
    named |= {f"{address}/{MANIFEST}" for address in manifests}
    # The files of weights lie beside the folders of their manifests.
    beside = {str(PurePosixPath(address).parent) for address, each in manifests.items() if each.kind == "weights"}
    return [
        path
        for path in paths
        if path not in named and (_within(path, manifests) or str(PurePosixPath(path).parent) in beside)
    ]


def _finished_work(manifests: Manifests) -> set[str]:
    """Where the checkpoints of finished work lay; a lease there is stale."""
    return {checkpoints_address(address) for address, each in manifests.items() if each.kind in {"model", "features"}}


def _within(path: str, addresses: Container[str]) -> bool:
    return any(str(parent) in addresses for parent in PurePosixPath(path).parents)


def _newest(manifests: Manifests, keep: int) -> Iterator[str]:
    """The last report of each dataset and limit, and the last `keep` models of each recipe there."""
    series = defaultdict(list)
    for address, each in sorted(manifests.items(), key=lambda item: (item[1].made_by["at"], item[0])):
        if each.kind in {"report", "model"}:
            recipe = each.facts["recipe"]["name"] if each.kind == "model" else None
            series[each.kind, each.facts["dataset"], each.facts["limit"], recipe].append(address)
    for (kind, *_), addresses in series.items():
        yield from addresses[-1 if kind == "report" else -keep :]


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


def _features_in_use(manifests: Manifests, unfinished: list[str]) -> list[str]:
    """Features of datasets on which a training is unfinished: it may be one that starts from them."""
    datasets = {path.split("/")[1] for path in unfinished}
    return [a for a, each in manifests.items() if each.kind == "features" and each.facts["dataset"] in datasets]


def _reached(manifests: Manifests, roots: list[str]) -> set[str]:
    """The roots, all that they were made of, and the evaluations of every model among them."""
    evaluations = defaultdict(list)
    for address, manifest in manifests.items():
        if manifest.kind == "evaluation":
            evaluations[manifest.inputs["model"].uri].append(address)
    reached: set[str] = set()
    waiting = list(roots)
    while waiting:
        address = waiting.pop()
        if address in manifests and address not in reached:
            reached.add(address)
            waiting += [*(ref.uri for ref in manifests[address].inputs.values()), *evaluations[address]]
    return reached


def _old(manifests: Manifests) -> Iterator[Removal]:
    """Every file of these outputs, each output's manifest first: what is not whole must not read as done."""
    for kind, reason in OLD.items():
        for address in sorted(address for address, each in manifests.items() if each.kind == kind):
            manifest = manifests[address]
            yield Removal(f"{address}/{MANIFEST}", reason, len(manifest.to_json()))
            for file in manifest.files.values():
                yield Removal(file.path, reason, file.size_bytes)


def command(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    add_store_option(options)
    options.add_argument("--keep", type=int, metavar="N", help="remove old models too, but a recipe's newest N")
    options.add_argument("--delete", action="store_true", help="remove; without it nothing is removed")
    chosen = options.parse_args(arguments)
    settings = read_settings()
    store = open_store(settings.store_uri, settings.cache_dir)
    removals, verb = plan(store, chosen.keep), "removed" if chosen.delete else "would remove"
    for removal in removals:
        if chosen.delete:
            apply(store, [removal])
        size = "" if removal.size_bytes is None else f", {removal.size_bytes:,} bytes"
        print(f"{verb}  {removal.path}  {removal.reason}{size}")
    print(f"{verb} {_sum(removals)}{'' if chosen.delete or not removals else '; nothing is removed; add --delete'}")


def _sum(removals: list[Removal]) -> str:
    sizes = [removal.size_bytes for removal in removals if removal.size_bytes is not None]
    unknown = len(removals) - len(sizes)
    return f"{len(removals)} files, {sum(sizes):,} bytes" + (f" and {unknown} of unknown size" if unknown else "")


if __name__ == "__main__":
    main_of(command)
