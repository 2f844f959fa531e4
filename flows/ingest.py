"""Bring a dataset into the store and prepare it: `python -m flows.ingest --dataset cifar100`.

Your own images: `python -m flows.ingest --from FOLDER --name flowers`. From then on `flowers` is a dataset like others.
"""

import argparse

from prefect import flow
from prefect.runtime import flow_run

from flows.command import add_place_options, check_ready, main_of, reach_store, settings_of
from flows.own_images import add_own_options, own_source, show_layout
from flows.parameters import add_options, read_options, takes
from lib.command_line import RUN_AGAIN, parser
from lib.data.datasets import DATASETS
from lib.data.own import find_dataset, read_registration
from lib.errors import shortened
from lib.images.own_source import OwnSource
from lib.lineage.manifests import Ref, load
from lib.planning.outputs import find_prepared
from lib.planning.plan import check_limit
from lib.planning.request import IngestRequest, read_request
from lib.store import Store
from tasks.endings import completed
from tasks.ingestion import ingest_dataset
from tasks.preparation import prepare_dataset
from tasks.retries import with_retries
from tasks.settings import current_store, using


def _run_name() -> str:
    given = flow_run.parameters
    limit = given.get("limit")
    return f"ingest {shortened(str(given['dataset']))}" + (f", {limit} training images only" if limit else "")


@flow(name="ingest", flow_run_name=_run_name, retries=0, validate_parameters=False)
@takes(IngestRequest)
def ingest(dataset: str = "digits", limit: int | None = None, source: OwnSource | None = None) -> Ref:
    """Fetch, check and store a dataset, then split and profile it. Returns the prepared data's ref."""
    request = read_request(IngestRequest, locals())
    if request.dataset in DATASETS:
        check_limit(DATASETS[request.dataset], request.limit)
    ingested = with_retries(ingest_dataset)(request.dataset, request.source)
    prepared = with_retries(prepare_dataset)(request.dataset, ingested, request.limit)
    return completed(prepared, f"{request.dataset} is prepared: {rows(current_store(), prepared)}")


def rows(store: Store, prepared: Ref) -> str:
    """How many rows each split has, in words, and how many were left out of train."""
    facts = load(store, prepared).facts
    left_out = sum(facts["duplicates"].get(f"train_in_{split}", 0) for split in ("validation", "test"))
    said = f"; left out of train, equal to one of validation or test: {left_out:,}" if left_out else ""
    return ", ".join(f"{count:,} {split}" for split, count in facts["rows"].items()) + f" rows{said}"


def make_parser() -> argparse.ArgumentParser:
    options = parser(__doc__)
    add_options(options, IngestRequest, "source")
    add_own_options(options)
    add_place_options(options)
    return options


def command(arguments: list[str] | None = None) -> None:
    chosen = make_parser().parse_args(arguments)
    source = own_source(chosen)
    chosen.dataset = source.name if source else chosen.dataset
    request, settings = read_options(IngestRequest, chosen), settings_of(chosen)
    store = reach_store(settings)
    if source:
        show_layout(source, store, settings)
    done = None
    if not source and not read_registration(store, request.dataset):  # of one's own there may be new images
        spec = find_dataset(request.dataset, store)
        check_limit(spec, request.limit)
        done = find_prepared(store, spec, request.limit)
    if not done:
        check_ready(store)
    with using(settings):
        prepared = done or ingest(request.dataset, request.limit, source)
    print(f"{request.dataset} is prepared: {rows(store, prepared)}\n{store.uri}/{prepared.uri}")


if __name__ == "__main__":
    main_of(command, RUN_AGAIN)
