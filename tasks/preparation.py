"""Split and profile a dataset."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from lib.data.datasets import find_dataset
from lib.lineage.manifests import Ref
from tasks.settings import current_store


@task(task_run_name="prepare {dataset}", cache_policy=NO_CACHE)
def prepare_dataset(dataset: str, ingested: Ref, limit: int | None) -> Ref:
    """Dataset → splits, checks, profile and pictures."""
    from lib.data.prepare import prepare  # with its libraries: a run that finds all done needs none of them

    return prepare(find_dataset(dataset), current_store(), ingested, limit)
