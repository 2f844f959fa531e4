"""The list of a dataset's reports: `reports/<dataset>/index.html` in the store, a page that links to each of them.

It follows from the manifests of the reports alone and is no output: it has no manifest, and nothing is made of it. It
is written anew after each report and after each clean-up that deletes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, TypeAdapter

from lib.data.datasets import DATASETS
from lib.errors import PermanentError
from lib.lineage.index import read_index
from lib.lineage.manifests import MANIFEST, Manifest
from lib.lineage.steps import STEPS
from lib.reporting.pages import render
from lib.reporting.trend import Reading, trend
from lib.store import Store

LIST = "index.html"
REPORT = STEPS["report"]
LISTS, MANIFESTS = f"/{REPORT.root}/*/{LIST}", f"/{REPORT.root}/*/*/{MANIFEST}"
LOOKS = 10
"""At the reports, until no other run has changed which there are since the list was written."""


class Line(BaseModel):
    """What is shown of a line of a leaderboard."""

    model_config = ConfigDict(strict=True)

    model: str
    validation_accuracy: float
    seed: int


LINES = TypeAdapter(list[Line])


@dataclass(frozen=True)
class Row:
    """One report."""

    at: datetime
    """When it was made, in UTC."""
    link: str
    """Its page, from the folder of the list."""
    started_by: str
    best: Line | None
    """The first model of its leaderboard, which is the best on validation; None where no model was trained."""
    models: int
    seeds: list[int]
    limit: int | None
    readings: list[Reading]
    """Its models by the names of their recipes."""


def write_report_list(store: Store, dataset: str) -> None:
    """Write the list of all reports of `dataset`: whole or not at all, over the one before.

    Manifests that cannot be read, or that do not say what a report's must, are passed over, and the page says how many.
    Of several runs at once, each looks again once it has written, and the last to write has seen every report: no row
    is lost, unless that run fails in between. The next report then mends it. Raises what the store raises.
    """
    folder, written = REPORT.folder.format(dataset_name=dataset), None
    for _ in range(LOOKS):
        if (listed := _manifests(store, folder)) == written:
            return
        page = _page(store, dataset, listed).encode(errors="replace")
        if not _lies_there(store, f"{folder}/{LIST}", page):
            store.write(f"{folder}/{LIST}", page)
        written = listed


def _lies_there(store: Store, path: str, page: bytes) -> bool:
    """Whether it does: a store that can only be read may hold all that there is to write."""
    try:
        return store.read(path) == page
    except PermanentError:  # nothing, or what a write puts right or names
        return False


def write_report_lists(store: Store) -> None:
    """The same for each dataset that has a report or a list of them. Raises as `write_report_list` does."""
    places = [PurePosixPath("/", path) for path in store.list(REPORT.root)]
    for dataset in sorted({place.parts[2] for place in places if place.match(LISTS) or place.match(MANIFESTS)}):
        write_report_list(store, dataset)


def _manifests(store: Store, folder: str) -> list[str]:
    """Those of the outputs in `folder`."""
    return [path for path in store.list(folder) if PurePosixPath("/", path).match(MANIFESTS)]


def _page(store: Store, dataset: str, manifests: Sequence[str]) -> str:
    index = read_index(store, manifests)
    rows, passed_over = [], len(index.other_versions) + len(index.damaged)
    for manifest in index.outputs.values():
        try:
            rows.append(_row(manifest))
        except (ValueError, OverflowError):
            passed_over += 1
    return render(
        "report_list.html.j2",
        title=DATASETS[dataset].title if dataset in DATASETS else dataset,
        rows=sorted(rows, key=lambda row: (row.at, row.link), reverse=True),
        passed_over=passed_over,
        trend=trend([reading for row in rows if row.limit is None for reading in row.readings]),
    )


def _row(manifest: Manifest) -> Row:
    """Its row. Raises ValueError or OverflowError where its manifest does not say what one must."""
    if manifest.kind != REPORT.kind:
        raise ValueError(f"a manifest in {REPORT.root} must be of kind {REPORT.kind}; received {manifest.kind}")
    page = PurePosixPath(manifest.files["index"].path)
    at = datetime.fromisoformat(manifest.made_by["at"])
    at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    lines = LINES.validate_python(manifest.facts["leaderboard"])
    return Row(
        at=at,
        link=quote(f"{page.parent.name}/{page.name}"),
        started_by=manifest.made_by["started_by"],
        best=lines[0] if lines else None,
        models=len(lines),
        seeds=sorted({line.seed for line in lines}),
        limit=manifest.facts["limit"],
        readings=[Reading(at, line.model.partition(",")[0], line.validation_accuracy) for line in lines],
    )
