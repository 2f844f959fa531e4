"""Split and profile a dataset."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from lib.data.own import spec_of
from lib.lineage.manifests import Ref, load
from tasks.settings import current_store


@task(task_run_name="prepare {dataset}", cache_policy=NO_CACHE)
def prepare_dataset(dataset: str, ingested: Ref, limit: int | None) -> Ref:
    """Dataset → splits, checks, profile and pictures."""
    from lib.data.prepare import prepare  # with its libraries: a run that finds all done needs none of them

    store = current_store()
    return prepare(spec_of(store, load(store, ingested)), store, ingested, limit)
