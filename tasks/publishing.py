"""Write the report, show it in the Prefect UI, and tell who listens."""

import json
import re
from bisect import bisect_right
from itertools import accumulate

from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from lib.errors import one_line
from lib.lineage.manifests import Ref, load
from lib.reporting.report import build_report, report_markdown
from lib.reporting.report_list import write_report_list
from lib.reporting.summary import leaderboard_table, report_summary, report_url
from lib.store import Store
from tasks.announcing import announce, board_description, last_best
from tasks.settings import current_store

SHOWN = ("Model", "Seeds", "Validation accuracy", "Test accuracy", "Test loss", "Training time", "Kind")
"""Best first, and as many columns as the Prefect UI shows at 1,280 px without cutting one off."""
LARGEST_MARKDOWN_BYTES, LARGEST_TABLE_BYTES = 250_000, 40_000
"""Prefect keeps each artifact of each run in its database: those of a report have at most 300 kB in all."""
PICTURE = re.compile(r"!\[[^\]]*\]\(data:[^)]*\)")
LEFT_OUT = "*A picture is left out here; the report in the store has it.*"
CUT = "\n\n*The rest is left out here; the report in the store has it.*\n"


@task(task_run_name="report on {dataset}", cache_policy=NO_CACHE)
def publish_report(
    dataset: str,
    prepared: Ref,
    evaluations: list[Ref],
    left_out: dict[str, str],
    started_by: str,
    show_test: bool,
    beside: list[Ref],
    lacking: dict[str, str],
) -> Ref:
    """Evaluations and what stands `beside` them → index.html in the store, a summary in Prefect, and an event of it.

    `left_out` says of each model without a result why it has none, and `lacking` the same of what could stand beside
    them, by its kind. A report that is in the store but cannot be listed there or shown in Prefect is a warning.
    """
    store = current_store()
    report = build_report(store, prepared, evaluations, left_out, started_by, beside, show_test, lacking)
    _list_reports(store, dataset, report)
    for show in (_show_leaderboard, _show_report, _show_link):
        try:
            show(store, dataset, report)
        except Exception as error:
            said = one_line(error)
            get_run_logger().warning("%s is in the store; Prefect does not show all of it: %s", report.uri, said)
    return report


def _list_reports(store: Store, dataset: str, report: Ref) -> None:
    try:
        write_report_list(store, dataset)
    except Exception as error:
        said = one_line(error)
        get_run_logger().warning(
            "%s is in the store; the list of reports lacks it until the next report: %s", report.uri, said
        )


def _show_leaderboard(store: Store, dataset: str, report: Ref) -> None:
    rows, facts = leaderboard_table(store, report), load(store, report).facts
    last = last_best(dataset, facts)  # before this leaderboard takes the place of the last one
    shown = [{name: row[name] for name in SHOWN if any(each.get(name) for each in rows)} for row in rows]
    shown = _first_rows(shown, LARGEST_TABLE_BYTES)
    create_table_artifact(shown, key=f"leaderboard-{dataset}", description=board_description(facts))
    announce(store, report, last)


def _show_report(store: Store, dataset: str, report: Ref) -> None:
    text = fitting(report_markdown(store, report), LARGEST_MARKDOWN_BYTES)
    create_markdown_artifact(text, key=f"report-{dataset}", description=report_summary(store, report))


def _show_link(store: Store, dataset: str, report: Ref) -> None:
    create_link_artifact(
        report_url(store, report),
        key=f"report-file-{dataset}",
        link_text="The report as one page",
        description=f"{store.uri}/{report.uri}; an S3 link is valid for a day; a new run makes a new one",
    )


def _first_rows(rows: list[dict[str, str]], largest_bytes: int) -> list[dict[str, str]]:
    """Those of `rows` that have room in so many bytes, the best models first."""
    ends = list(accumulate(len(json.dumps(row)) + 2 for row in rows))
    return rows[: bisect_right(ends, largest_bytes)]


def fitting(markdown: str, largest_bytes: int) -> str:
    """`markdown` in at most so many bytes: without its largest pictures, then without its end."""
    for picture in sorted(PICTURE.findall(markdown), key=len, reverse=True):
        if len(markdown.encode()) <= largest_bytes:
            break
        markdown = markdown.replace(picture, LEFT_OUT)
    if len(markdown.encode()) <= largest_bytes:
        return markdown
    kept = markdown.encode()[: largest_bytes - len(CUT)].decode(errors="ignore")
    return kept.rpartition("\n")[0] + CUT
