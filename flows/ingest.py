"""Fetch a dataset into the store and prepare it: `python -m flows.ingest --dataset cifar100`."""

import argparse

from prefect import flow
from prefect.runtime import flow_run

from flows.command import add_place_options, check_ready, main_of, reach_store, settings_of
from flows.parameters import add_options, read_options, takes
from lib.command_line import RUN_AGAIN, parser
from lib.data.datasets import find_dataset
from lib.errors import shortened
from lib.lineage.manifests import Ref, load
from lib.planning.outputs import find_prepared
from lib.planning.plan import check_limit
from lib.planning.request import DataRequest, read_request
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
@takes(DataRequest)
def ingest(dataset: str = "digits", limit: int | None = None) -> Ref:
    """Fetch, check and store a dataset, then split and profile it. Returns the prepared data's ref."""
    request = read_request(DataRequest, locals())
    check_limit(find_dataset(request.dataset), request.limit)
    ingested = with_retries(ingest_dataset)(request.dataset)
    prepared = with_retries(prepare_dataset)(request.dataset, ingested, request.limit)
    return completed(prepared, f"{request.dataset} is prepared: {rows(current_store(), prepared)}")


def rows(store: Store, prepared: Ref) -> str:
    """How many rows each split has, in words."""
    counts = load(store, prepared).facts["rows"]
    return ", ".join(f"{count:,} {split}" for split, count in counts.items()) + " rows"


def make_parser() -> argparse.ArgumentParser:
    options = parser(__doc__)
    add_options(options, DataRequest)
    add_place_options(options)
    return options


def command(arguments: list[str] | None = None) -> None:
    chosen = make_parser().parse_args(arguments)
    request, settings = read_options(DataRequest, chosen), settings_of(chosen)
    spec = find_dataset(request.dataset)
    check_limit(spec, request.limit)
    store = reach_store(settings)
    done = find_prepared(store, spec, request.limit)
    if not done:
        check_ready(store)
    with using(settings):
        prepared = done or ingest(request.dataset, request.limit)
    print(f"{request.dataset} is prepared: {rows(store, prepared)}\n{store.uri}/{prepared.uri}")


if __name__ == "__main__":
    main_of(command, RUN_AGAIN)
