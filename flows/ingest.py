"""Bring a dataset into the store and prepare it: `python -m flows.ingest --dataset cifar100`."""

from prefect import flow

from flows.command import add_data_options, main_of
from flows.parameters import DatasetName, Limit
from lib.command_line import add_store_option, parser
from lib.data.datasets import find_dataset
from lib.lineage.manifests import Ref, load
from lib.planning.plan import check_limit, find_prepared
from tasks.ingestion import ingest_dataset
from tasks.preparation import prepare_dataset
from tasks.retries import with_retries
from tasks.storage import settings_store


@flow(name="ingest", flow_run_name="ingest {dataset}")
def ingest(dataset: DatasetName = "digits", limit: Limit = None) -> Ref:
    """Fetch, check and store a dataset, then split and profile it. Returns the prepared data's ref."""
    ingested = with_retries(ingest_dataset)(dataset)
    return with_retries(prepare_dataset)(dataset, ingested, limit)


def command(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    add_data_options(options)
    add_store_option(options)
    chosen = options.parse_args(arguments)
    spec, store = find_dataset(chosen.dataset), settings_store()
    check_limit(spec, chosen.limit)
    prepared = find_prepared(store, spec, chosen.limit) or ingest(chosen.dataset, chosen.limit)
    rows = ", ".join(f"{count:,} {split}" for split, count in load(store, prepared).facts["rows"].items())
    print(f"{chosen.dataset} is prepared: {rows} rows\n{store.uri}/{prepared.uri}")


if __name__ == "__main__":
    main_of(command)
