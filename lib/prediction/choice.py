"""Which model predicts: the one that a person names, or the champion, or the best of the newest report."""

from collections.abc import Iterator

from lib.errors import PermanentError, shortened
from lib.lineage.manifests import MANIFEST, Manifest, OtherVersion, Ref, address_of, find, load
from lib.lineage.steps import STEPS
from lib.registry.history import champion
from lib.reporting.makers import evaluations_of
from lib.store import Store

RULE = "--model must name a model or its evaluation"


def model_to_use(store: Store, dataset: str, named: str | None) -> Ref:
    """The evaluation of the model that is to predict: of `named`, of the champion, or of the best on validation of the
    newest report, where the dataset has no champion yet.

    Reports on all of the training images come before those on a part. Raises PermanentError where there is none, or
    where it is one of another dataset.
    """
    if named is not None:
        return _named(store, dataset, named)
    if known := champion(store, dataset):
        return known.evaluation
    reports = sorted(_reports(store, dataset), key=lambda each: (each[1].facts["limit"] is None, -each[0]))
    if not reports:
        raise PermanentError(
            f"{shortened(dataset)} must have a trained model; {store.uri} has no report on it: run "
            f"python -m flows.train --dataset {shortened(dataset)} first, or name a model by --model"
        )
    evaluations = evaluations_of(reports[-1][1])
    return max(evaluations, key=lambda each: (_accuracy(load(store, each)), each.uri))


def _accuracy(evaluation: Manifest) -> float:
    return float(evaluation.facts["metrics"]["validation"]["accuracy"])


def _reports(store: Store, dataset: str) -> Iterator[tuple[float, Manifest]]:
    """Age in seconds and manifest of each."""
    for path, age_s in store.ages(STEPS["report"].folder.format(dataset_name=dataset)).items():
        if path.endswith(f"/{MANIFEST}"):
            try:
                found = find(store, path.removesuffix(f"/{MANIFEST}"))
            except OtherVersion:
                continue
            if found:
                yield age_s, found[1]


def _named(store: Store, dataset: str, named: str) -> Ref:
    address = address_of(named, store.uri, RULE)
    found = find(store, address)
    if not found:
        raise PermanentError(f"{RULE}; nothing finished lies at {shortened(address)} in {store.uri}")
    ref, manifest = found
    if manifest.kind not in {"model", "evaluation"}:
        raise PermanentError(f"{RULE}; received {address}, a {manifest.kind}")
    if manifest.facts["dataset"] != dataset:
        raise PermanentError(f"{RULE} of {shortened(dataset)}; {address} is one of {manifest.facts['dataset']}")
    if manifest.kind == "evaluation":
        return ref
    recipe = manifest.facts["recipe"]["name"]
    evaluated = find(store, STEPS["evaluation"].address(dataset_name=dataset, recipe_name=recipe, model=ref))
    if not evaluated:
        raise PermanentError(f"{RULE}; {address} has not been evaluated: run flows.train again, which does it")
    return evaluated[0]
