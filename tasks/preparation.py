"""Split and profile a dataset, in a process of its own."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from lib.data.datasets import prepared_address
from lib.data.own import spec_of
from lib.lineage.manifests import Ref, find, load
from tasks.processes import run_alone
from tasks.settings import current_store


@task(task_run_name="prepare {dataset}", cache_policy=NO_CACHE)
def prepare_dataset(dataset: str, ingested: Ref, limit: int | None) -> Ref:
    """Dataset → splits, checks, profile and pictures."""
    store = current_store()
    spec = spec_of(store, load(store, ingested))
    if done := find(store, prepared_address(spec, ingested, limit)):
        return done[0]  # no process has to start for that
    return run_alone("prepared", spec.name, "cpu", spec=spec, dataset=ingested, limit=limit)
