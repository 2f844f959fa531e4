"""What a prediction says in a few lines, and whether too many of its images were bad."""

from lib.errors import PermanentError, counted, shortened
from lib.lineage.manifests import Manifest, Ref
from lib.prediction.predictions import stored_tables
from lib.prediction.table import UNREADABLE
from lib.store import Store

SHOWN = 3
DRIFT = "drift"
"""The verdict that tells of images that are not like those of validation."""


def summary(prediction: Manifest) -> list[str]:
    """How many images were predicted, by which model, and how like validation they are: sentences."""
    facts, model = prediction.facts, prediction.inputs["model"]
    bad = f"; {facts['unreadable']:,} cannot be read" if facts["unreadable"] else ""
    readable = facts["images"] - facts["unreadable"]
    return [
        f"{counted(readable, 'image')} of {facts['source']} predicted by {facts['recipe']} ({model.uri}){bad}.",
        *facts["drift"]["said"],
    ]


def check_bad(store: Store, ref: Ref, prediction: Manifest, max_bad: float) -> None:
    """Raise PermanentError where more than this share of the images cannot be read. All rows are there."""
    images, bad = prediction.facts["images"], prediction.facts["unreadable"]
    if bad <= max_bad * images:
        return
    found = list[str]()
    for table in stored_tables(store, prediction)():
        rows = table.select(["path", "status", "reason"]).to_pylist()
        found += [f"{shortened(row['path'])}: {row['reason']}" for row in rows if row["status"] == UNREADABLE]
        if len(found) >= SHOWN:
            break
    raise PermanentError(
        f"at most {max_bad:.0%} of the images may be unreadable (--max-bad); received {bad:,} of {images:,}: "
        f"{'; '.join(found[:SHOWN])}{'; …' if bad > SHOWN else ''}; all rows are in {ref.uri}"
    )
