"""Bring datasets and pretrained weights into the store."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.runtime import flow_run, task_run

from lib.data.datasets import dataset_address
from lib.data.own import collected_summary, find_dataset, read_registration, record
from lib.images.own_source import OwnSource
from lib.lineage.manifests import Ref, find, load
from lib.models.backbone_schema import Backbone
from tasks.display import show_download, show_images
from tasks.settings import current_settings, current_store

DATASET_UPDATED = "dataset.updated"


@task(task_run_name="ingest {dataset}", cache_policy=NO_CACHE)
def ingest_dataset(dataset: str, source: OwnSource | None = None) -> Ref:
    """Publisher or mirror → checked Parquet in the store. Emits DATASET_UPDATED where it commits a new version.

    Not as part of a training: that goes on with the new version by itself. A second try emits it in any case, as the
    first may have been killed just before it would have: what it starts finds all done, or does what is missing.
    A person's own images are looked at again, unless as part of a training: that uses the newest version there is.
    """
    from lib.data.ingest import ingest  # with its libraries: a run that finds all done needs none of them

    store, is_training = current_store(), bool(flow_run.parent_flow_run_id)
    own = read_registration(store, dataset)
    if place := source or (own.source if own and not is_training else None):
        collect_images(place, own.images if own else None)
    spec = find_dataset(dataset, store)
    known = find(store, dataset_address(spec))
    with show_download(get_run_logger()) as progress:
        ingested = ingest(spec, store, current_settings().mirror_url, progress)
    tried_before = flow_run.run_count > 1 or task_run.run_count > 1
    if (tried_before or not known) and not is_training:
        resource = {"prefect.resource.id": f"dataset.{dataset}", "prefect.resource.name": dataset}
        emit_event(DATASET_UPDATED, resource, payload=ingested.model_dump())
    return ingested


def collect_images(source: OwnSource, newest: Ref | None) -> None:
    """Look at a person's images, and record what lies there as the newest version of their dataset."""
    from lib.images.collect import collect, look
    from lib.images.sources import check_apart

    store, logger = current_store(), get_run_logger()
    check_apart(source.uri, store.uri)
    layout = look(source, current_settings().cache_dir)
    logger.info("%s: %s", source.name, layout.description)
    with show_images(logger) as progress:
        images = collect(source, layout, store, newest, progress)
    record(store, source, images)
    for line in collected_summary(load(store, images)):
        logger.info(line)


@task(task_run_name="ingest weights of {backbone.name}", cache_policy=NO_CACHE)
def ingest_backbone(backbone: Backbone) -> Ref | None:
    """Keras's address, a mirror or a file → checked weights in the store; None for a random start."""
    from lib.models.weights import ingest_weights

    with show_download(get_run_logger()) as progress:
        return ingest_weights(current_store(), backbone, current_settings().mirror_url, progress)
