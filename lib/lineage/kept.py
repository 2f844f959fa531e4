"""Which outputs are kept: what is young, newest, best or named, and all that it was made of."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from lib.errors import PermanentError
from lib.lineage.aliases import aliases
from lib.lineage.manifests import MANIFEST, Manifest
from lib.lineage.step import Kept
from lib.lineage.steps import STEPS
from lib.store import Store

GRACE_S = 24 * 3600.0
"""So long a file counts as in use; no upload takes so long, and no step between its files and its manifest."""
Manifests = Mapping[str, Manifest]
"""By address."""
Ages = Mapping[str, float]
"""Seconds since each path was written."""
IsTry = Callable[[Manifest], bool]
"""Whether a model was trained in another way than its recipe says."""


@dataclass(frozen=True)
class Policy:
    """What is kept. By default everything but litter."""

    keep: int | None = None
    """The newest models of each recipe, and the newest reports of each dataset; None: all."""
    grace_s: float = GRACE_S
    is_try: IsTry = field(default=lambda manifest: manifest.facts.get("limit") is not None)
    """Tries are counted apart, so that they take no place of a full run."""

    def __post_init__(self) -> None:
        if self.keep is not None and self.keep < 1:
            raise PermanentError(f"--keep must be a whole number of at least 1; received {self.keep}")
        if not 0 <= self.grace_s < math.inf:
            raise PermanentError(f"the grace period must be 0 or more; received {self.grace_s}")


def kept_outputs(store: Store, policy: Policy, manifests: Manifests, ages: Ages) -> set[str]:
    """What is young, newest, best or named in the registry, all that it was made of, and what is kept with that."""
    young = [address for address in manifests if _young(address, ages, policy.grace_s)]
    named = aliases(store, policy.keep)
    return _reached(manifests, [*young, *_newest_and_best(policy, manifests, ages), *named])


def _young(address: str, ages: Ages, grace_s: float) -> bool:
    return ages.get(f"{address}/{MANIFEST}", 0.0) < grace_s


def _newest_and_best(policy: Policy, manifests: Manifests, ages: Ages) -> Iterator[str]:
    """Of each series the newest `keep`, by the store's clock, and of models the one that is best on validation."""
    accuracies = _accuracies(manifests)
    tries = {address for address, each in manifests.items() if each.kind == "model" and policy.is_try(each)}
    series = defaultdict(list)
    for address, each in manifests.items():
        if STEPS[each.kind].kept is Kept.NEWEST_N:
            starts = tuple(ref.uri for ref in each.inputs.values() if ref.uri.startswith(f"{STEPS['weights'].root}/"))
            a_try = bool(tries & _reached_back(manifests, address))
            series[PurePosixPath(address).parent, starts, a_try].append(address)
    for addresses in series.values():
        addresses.sort(reverse=True)
        addresses.sort(key=lambda address: ages.get(f"{address}/{MANIFEST}", 0.0))
        yield from addresses[: policy.keep]
        if measured := [address for address in addresses if address in accuracies]:
            yield max(measured, key=lambda address: accuracies[address])


def _accuracies(manifests: Manifests) -> dict[str, float]:
    """Of each model that was evaluated, the accuracy on validation."""
    found = {}
    for each in manifests.values():
        metrics = each.facts.get("metrics")
        if each.kind == "evaluation" and "model" in each.inputs and isinstance(metrics, dict):
            validation = metrics.get("validation")
            accuracy = validation.get("accuracy") if isinstance(validation, dict) else None
            if isinstance(accuracy, float):
                found[each.inputs["model"].uri] = accuracy
    return found


def _reached_back(manifests: Manifests, address: str) -> set[str]:
    """The output and all that it was made of."""
    reached, waiting = set[str](), [address]
    while waiting:
        each = waiting.pop()
        if each in manifests and each not in reached:
            reached.add(each)
            waiting += [ref.uri for ref in manifests[each].inputs.values()]
    return reached


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
