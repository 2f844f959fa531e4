"""Bring data sets and pretrained weights into the store."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from lib.data.datasets import find_dataset
from lib.manifests import Ref
from lib.models.schema import Backbone
from lib.settings import read_settings
from tasks.display import show_download
from tasks.storage import settings_store


@task(task_run_name="ingest {dataset}", cache_policy=NO_CACHE)
def ingest_dataset(dataset: str) -> Ref:
    """Publisher or mirror → checked Parquet in the store."""
    from lib.data.ingest import ingest  # with its libraries: a run that finds all done needs none of them

    with show_download() as progress:
        return ingest(find_dataset(dataset), settings_store(), read_settings().mirror_url, progress)


@task(task_run_name="ingest weights of {backbone.name}", cache_policy=NO_CACHE)
def ingest_backbone(backbone: Backbone) -> Ref | None:
    """Keras's address, a mirror or a file → checked weights in the store; None for a random start."""
    from lib.models.weights import ingest_weights

    with show_download() as progress:
        return ingest_weights(settings_store(), backbone, read_settings().mirror_url, progress)
