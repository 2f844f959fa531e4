"""All rows of a prediction in one Parquet or CSV file, wherever a person wants it."""

from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.csv as pc
import pyarrow.parquet as pq

from lib import addresses
from lib.errors import PermanentError, shortened
from lib.lineage.manifests import Manifest
from lib.prediction.predictions import stored_tables
from lib.redaction import without_secrets
from lib.settings import Settings
from lib.store import Store, open_store
from lib.temporary import temporary_folder

KINDS = (".parquet", ".csv")
RULE = "--output must be a file, or s3://bucket/key, whose name ends in .parquet or .csv"


def check_output(uri: str) -> tuple[str, str]:
    """The folder or prefix in which the file at `uri` is to lie, and its name. Raises PermanentError."""
    if uri.startswith("s3:"):
        bucket, key = addresses.bucket_and_key(uri, RULE)
        place = PurePosixPath(bucket, key)
        folder = f"s3://{place.parent}"
    else:
        path = addresses.folder(uri, RULE).absolute()
        place, folder = PurePosixPath(path), str(path.parent)
    if place.suffix.lower() not in KINDS or (uri.startswith("s3:") and not key):
        raise PermanentError(f"{RULE}; received {shortened(without_secrets(uri))}")
    return folder, place.name


def export(store: Store, prediction: Manifest, uri: str, settings: Settings) -> None:
    """Write the rows of `prediction` to `uri`: whole or not at all, over what was there. A part is in memory."""
    folder, name = check_output(uri)
    with temporary_folder() as own:
        file = own / name
        _write(store, prediction, file)
        open_store(folder, settings.cache_dir).write(name, file)


def _write(store: Store, prediction: Manifest, file: Path) -> None:
    writer: Any = None
    try:
        for table in stored_tables(store, prediction)():
            if writer is None:
                kind = pc.CSVWriter if file.suffix.lower() == ".csv" else pq.ParquetWriter
                writer = kind(file, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
